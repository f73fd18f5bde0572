"""Flask-Session over redis-py: see ../README.md for what each path does."""

import logging
import os
from datetime import timedelta

from flask import Flask, jsonify, request, session
from flask_session import Session
from redis import Redis
from werkzeug.serving import make_server

where = (
    {"unix_socket_path": os.environ["REDIS_UNIX"]}
    if os.environ.get("REDIS_UNIX")
    else {"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])}
)
app = Flask(__name__)
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis(
        password=os.environ.get("REDIS_PASSWORD") or None, db=int(os.environ.get("REDIS_DATABASE") or 0), **where
    ),
    SESSION_PERMANENT=True,
    PERMANENT_SESSION_LIFETIME=timedelta(seconds=int(os.environ["SESSION_TTL"])),
)
Session(app)


def held():
    return jsonify({key: session.get(key) for key in ("user", "value", "large")})


def body():
    return request.get_data(as_text=True)


@app.get("/read")
def read():
    return held()


@app.post("/login")
def login():
    app.session_interface.regenerate(session)
    session["user"] = body()
    return held()


@app.post("/update")
def update():
    session["value"] = body()
    return held()


@app.post("/large")
def large():
    session["large"] = body()
    return held()


@app.post("/touch")
def touch():
    # The library saves at the end of each request.
    return held()


@app.post("/change-id")
def change_id():
    app.session_interface.regenerate(session)
    return held()


@app.post("/logout")
def logout():
    session.clear()
    return held()


logging.getLogger("werkzeug").setLevel(logging.ERROR)
make_server("127.0.0.1", int(os.environ["PORT"]), app, threaded=True).serve_forever()
