"""srkit from Python: `load` a model and upscale with it, `fit` one, `score` one.

    srkit.load().upscale(picture)
    srkit.fit(model="edsr", data="photos/", steps=1000).load()
    srkit.score("edsr-small", "set5")

All three work in a script, a notebook and a thread. They read no input and print nothing on stdout. Importing this
imports no torch, so that `from srkit import *` stays light in a plugin's module.
"""
