import connections.models
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


def keep_what_was_known(apps, schema_editor):
    """Keys go on as they were derived, and old deliveries get the outcome they had."""
    F = models.F
    apps.get_model("connections", "Connection").objects.update(
        key_space=F("webhook_token"), webhook_made_at=F("created_at"), bell_first_at=F("bell_seen_at")
    )
    deliveries = apps.get_model("connections", "Delivery").objects
    deliveries.filter(verified=True).update(outcome="accepted")
    deliveries.filter(verified=False).update(outcome="refused")


class Migration(migrations.Migration):

    dependencies = [
        ('connections', '0002_pauses'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='delivery',
            name='one_row_per_verified_delivery',
        ),
        migrations.AddField(
            model_name='connection',
            name='bell_first_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='connection',
            name='key_space',
            field=models.CharField(default=connections.models.new_key_space, editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='connection',
            name='webhook_made_at',
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddField(
            model_name='connection',
            name='webhook_set_up_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='arrival',
            field=models.CharField(editable=False, max_length=32, null=True, unique=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='fingerprint',
            field=models.CharField(blank=True, max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='outcome',
            field=models.CharField(choices=[('waiting', 'Just arrived'), ('accepted', 'Accepted'), ('hint', 'Taken as a hint'), ('duplicate', 'Came again'), ('no_record', 'Names no record'), ('other_type', 'Not synced here'), ('no_mapping', 'No mapping'), ('refused', 'Refused'), ('unreadable', 'Not readable'), ('too_large', 'Too large'), ('failed', 'Not taken in')], default='waiting', max_length=12),
        ),
        migrations.AddField(
            model_name='delivery',
            name='sender',
            field=models.CharField(blank=True, max_length=45),
        ),
        migrations.AddField(
            model_name='delivery',
            name='told',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='unlisted',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='connections.connection'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='received_at',
            field=models.DateTimeField(db_index=True, default=django.utils.timezone.now),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['connection', 'outcome', '-id'], name='delivery_outcome'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['connection', '-id'], name='delivery_log'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('outcome', 'waiting')), fields=['id'], name='delivery_waiting'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('fingerprint__isnull', False)), fields=('connection', 'fingerprint'), name='one_row_per_verified_delivery'),
        ),
        migrations.RunPython(keep_what_was_known, migrations.RunPython.noop),
    ]
