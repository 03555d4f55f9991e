"""The agent layer: what agents do becomes steps of a durable handler, on Rewake and on a Restate cluster alike.

`rewake.ext.openai` and its siblings adapt one framework each; `rewake.ext.kernel` is under all of them, and public.
Nothing here imports the engine: the layer stands on restate-sdk's public Context and on the framework alone.
"""
