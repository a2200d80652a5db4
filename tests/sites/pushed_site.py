"""A Flask application whose module leaves an application context pushed, as some do to use a database in a shell."""

from flask import Flask, g

app = Flask("pushed_site")
app.app_context().push()


@app.get("/<user>")
def first(user):
    """Whoever was the first that this request knows of."""
    return g.setdefault("user", user)
