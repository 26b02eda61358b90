from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class SyncAdminConfig(AppConfig):
    name = "syncadmin"
    verbose_name = "SyncAdmin"


class SiteConfig(admin_apps.AdminConfig):
    """Django's admin with our own site as its default."""

    default_site = "syncadmin.site.SyncAdminSite"
    default = False
