"""Home: the first line is the answer."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from connections.access import requires


@requires("home.read")
def page(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html", {})
