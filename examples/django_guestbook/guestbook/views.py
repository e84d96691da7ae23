"""A page with a form, the same as JSON, and an export that streams; synchronous and not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.shortcuts import render

from guestbook.models import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator


class EntryForm(ModelForm):
    """What a guest may write."""

    class Meta:
        """Of an entry."""

        model = Entry
        fields = ("name", "text")


def page(request: HttpRequest) -> HttpResponse:
    """The book; what is posted is written into it, and the name is remembered."""
    form = EntryForm(request.POST or None, initial={"name": request.session.get("name", "")})
    if request.method == "POST" and form.is_valid():
        form.save()
        request.session["name"] = form.cleaned_data["name"]
        return HttpResponseRedirect(".")
    status = 422 if request.method == "POST" else 200
    return render(request, "guestbook.html", {"form": form, "entries": Entry.objects.all()[:50]}, status=status)


async def entries(request: HttpRequest) -> JsonResponse:
    """The last fifty."""
    found = [{"name": entry.name, "text": entry.text} async for entry in Entry.objects.all()[:50]]
    return JsonResponse({"entries": found, "secure": request.is_secure()})


def export(_: HttpRequest) -> StreamingHttpResponse:
    """Every entry, a line each, as it is read from the database."""

    def lines() -> Iterator[str]:
        for entry in Entry.objects.order_by("id").iterator(chunk_size=100):
            yield f"{entry.name}: {entry.text}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")
