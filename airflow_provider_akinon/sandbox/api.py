"""The Audit Events API, made of what Akinon's is made of: Django, Django REST framework and django-filter.

This is the API at its best. What can go wrong with it is in `faults`; this module knows nothing of that, and does
not pay for it. Import it only after `server` has configured Django.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zlib import crc32

from django.conf import settings
from django.db import models
from django.http import Http404
from django.urls import path
from django_filters.rest_framework import DjangoFilterBackend, FilterSet, NumberFilter
from rest_framework.authentication import TokenAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotFound
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from airflow_provider_akinon.sandbox.options import Options
from airflow_provider_akinon.sandbox.request_log import ROWS

OPTIONS: Options = settings.SANDBOX


class AuditEvent(models.Model):
    """An event, in the table that `database` makes."""

    uuid = models.UUIDField(unique=True)
    timestamp = models.DateTimeField()
    content_type = models.IntegerField(null=True)
    object_id = models.BigIntegerField(null=True)
    remote_addr = models.TextField(null=True)
    url = models.TextField(null=True)
    content = models.JSONField(null=True)
    headers = models.JSONField(null=True)
    post_data = models.JSONField(null=True)
    query_params = models.JSONField(null=True)
    user = models.JSONField(null=True)
    user_pk = models.BigIntegerField(null=True)

    class Meta:
        """Newest first, where nothing else is asked for."""

        app_label = "sandbox"
        db_table = "audit_event"
        managed = False
        ordering: ClassVar = ["-timestamp"]


class AuditEventFilter(FilterSet):
    """The filters of the list; an unknown or empty parameter is ignored without a word."""

    user = NumberFilter(field_name="user_pk")

    class Meta:
        """The filters that follow from the model's fields."""

        model = AuditEvent
        fields: ClassVar = {
            "content_type": ["exact"],
            "object_id": ["exact"],
            "timestamp": ["exact", "gt", "gte", "lt", "lte"],
        }


class Sort(OrderingFilter):
    """``sort=field``, descending with a leading ``-``; an unknown field is ignored without a word."""

    ordering_param = "sort"


class Pages(PageNumberPagination):
    """``limit`` and ``page``; a larger limit than the largest becomes the largest without a word."""

    page_size = OPTIONS.page_size
    page_size_query_param = "limit"
    max_page_size = OPTIONS.max_limit

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[AuditEvent]:
        """Return the rows of the page that is asked for."""
        rows: list[AuditEvent] = super().paginate_queryset(queryset, request, view)
        request.META[ROWS] = ((self.page.number - 1) * self.page.paginator.per_page, len(rows))
        return rows


class AuditEventSerializer(ModelSerializer):
    """An event as it is shown."""

    class Meta:
        """The fields in the order of the API's documentation."""

        model = AuditEvent
        fields: ClassVar = [
            "content",
            "content_type",
            "headers",
            "object_id",
            "post_data",
            "query_params",
            "remote_addr",
            "timestamp",
            "url",
            "user",
            "uuid",
        ]

    def to_representation(self, instance: AuditEvent) -> dict[str, Any]:
        """Return the event as it is shown: its user as of now, unless users are frozen."""
        shown: dict[str, Any] = super().to_representation(instance)
        if not OPTIONS.freeze_users and isinstance(shown["user"], dict):
            shown["user"] = as_of(shown["user"], datetime.now(UTC))
        return shown


def as_of(user: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return what is known of a person at a time: the event refers to it, and the person goes on working.

    Everybody was last seen some minutes ago, each at another second, and again each second after it.
    """
    login = now.replace(microsecond=0) - timedelta(seconds=crc32(repr(user.get("pk")).encode()) % 600)
    moved = {"last_login": login, "modified_date": login + timedelta(milliseconds=20)}
    return user | {name: f"{instant:%Y-%m-%dT%H:%M:%S.%f}Z" for name, instant in moved.items() if name in user}


@dataclass(frozen=True)
class Account:
    """Whose key was sent; a narrow one sees only the events that a user caused."""

    pk: int
    narrow: bool
    is_authenticated: bool = True


class KeyAuthentication(TokenAuthentication):
    """``Authorization: Token <key>``; the bare key too, where the sandbox was told so."""

    def authenticate(self, request: Any) -> tuple[Account, str] | None:
        """Return the account of a request; None where it has no key."""
        words = get_authorization_header(request).split()
        if OPTIONS.bare_key and len(words) == 1 and words[0].lower() != b"token":
            account: tuple[Account, str] | None = self.authenticate_credentials(words[0].decode("latin-1"))
        else:
            account = super().authenticate(request)
        return account

    def authenticate_credentials(self, key: str) -> tuple[Account, str]:
        """Return the account with this key."""
        if key == OPTIONS.key:
            return Account(1, narrow=False), key
        if key == OPTIONS.narrow_key:
            return Account(2, narrow=True), key
        raise AuthenticationFailed("Invalid token.")


class AuditEvents(ReadOnlyModelViewSet):
    """The two endpoints: the list, and one event by its uuid."""

    authentication_classes: ClassVar = [KeyAuthentication]
    permission_classes: ClassVar = [IsAuthenticated]
    queryset = AuditEvent.objects.all()
    serializer_class: Any = AuditEventSerializer
    pagination_class: Any = Pages
    filter_backends: ClassVar[list[Any]] = [DjangoFilterBackend, Sort]
    filterset_class: Any = AuditEventFilter
    ordering_fields: ClassVar = ["id", "timestamp", "uuid", "content_type", "object_id", "remote_addr", "url"]
    lookup_field = "uuid"

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Check the key, the throttle, and the number in the path."""
        super().initial(request, *args, **kwargs)
        if kwargs.get("remote_id") != OPTIONS.remote_id:
            raise NotFound

    def get_queryset(self) -> Any:
        """Return the events that the key may see."""
        events = super().get_queryset()
        return events.exclude(user_pk=None) if self.request.user.narrow else events

    def get_object(self) -> AuditEvent:
        """Return the event with the uuid in the path."""
        try:
            event: AuditEvent = super().get_object()
        except Http404:
            # Newer versions of REST framework would name the model.
            raise NotFound from None
        return event


def urls(view: type[AuditEvents]) -> list[Any]:
    """Return the API's URL patterns, served by ``view``."""
    return [
        each
        for before in ("remote/<int:remote_id>/", "")
        for root in (f"api/v1/{before}data-warehouse/audit-events/",)
        for each in (
            path(root, view.as_view({"get": "list"})),
            path(root + "<str:uuid>/", view.as_view({"get": "retrieve"})),
        )
    ]


urlpatterns = urls(AuditEvents)
