"""A Django site in one file, for ASGI and for WSGI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
)
django.setup()


async def hello(request: HttpRequest, name: str) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"hello, {name}")


def facts(request: HttpRequest) -> HttpResponse:
    known: dict[str, Any] = {"secure": request.is_secure(), "method": request.method, "host": request.get_host()}
    return JsonResponse(known | {"body": len(request.body), "query": request.GET.dict()})


async def numbers(request: HttpRequest) -> StreamingHttpResponse:
    async def count() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(count(), content_type="text/plain")


urlpatterns = [path("hello/<str:name>", hello), path("facts", facts), path("numbers", numbers)]

app = get_asgi_application()
wsgi = get_wsgi_application()
