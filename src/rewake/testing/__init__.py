"""What users test their own agents with.

`models` is a model server that answers by rules and speaks the providers' API formats. Nothing here is imported
by the engine; each module is imported on its own, so that testing costs nothing at run time.
"""
