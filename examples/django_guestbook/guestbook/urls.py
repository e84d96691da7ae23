"""What is where."""

from django.urls import path

from guestbook import views

urlpatterns = [path("", views.page), path("entries.json", views.entries), path("export.txt", views.export)]
