from django.db import migrations

from sync.audit_guard import install, remove


class Migration(migrations.Migration):
    dependencies = [("sync", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
