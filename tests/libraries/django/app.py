"""Django's cache sessions over django-redis: see ../README.md for what each path does."""

import os
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

DATABASE = os.environ.get("REDIS_DATABASE") or "0"
if os.environ.get("REDIS_UNIX"):
    LOCATION = f"unix://{os.environ['REDIS_UNIX']}?db={DATABASE}"
else:
    LOCATION = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/{DATABASE}"

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_AGE=int(os.environ["SESSION_TTL"]),
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": LOCATION,
            "OPTIONS": {"PASSWORD": os.environ.get("REDIS_PASSWORD") or None},
        }
    },
)
django.setup()


def held(session):
    return JsonResponse({key: session.get(key) for key in ("user", "value", "large")})


def read(request):
    return held(request.session)


def login(request):
    request.session.cycle_key()
    request.session["user"] = request.body.decode()
    return held(request.session)


def put(key):
    def view(request):
        request.session[key] = request.body.decode()
        return held(request.session)

    return view


def touch(request):
    # Without SESSION_SAVE_EVERY_REQUEST this is how an application renews.
    request.session.modified = True
    return held(request.session)


def change_id(request):
    request.session.cycle_key()
    return held(request.session)


def logout(request):
    request.session.flush()
    return held(request.session)


urlpatterns = [
    path("read", read),
    path("login", login),
    path("update", put("value")),
    path("large", put("large")),
    path("touch", touch),
    path("change-id", change_id),
    path("logout", logout),
]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


make_server(
    "127.0.0.1", int(os.environ["PORT"]), get_wsgi_application(), server_class=Server, handler_class=Quiet
).serve_forever()
