"""What is kept."""

from django.db import models


class Entry(models.Model):
    """What a guest wrote."""

    name = models.CharField(max_length=40)
    text = models.TextField(max_length=500)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Newest first."""

        ordering = ("-id",)
