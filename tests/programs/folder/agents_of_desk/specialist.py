def answer_for(claim: str) -> str:
    return f"{claim} is answered"
