import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


def note_causes(apps, schema_editor):
    """Open questions in which something failed get the fingerprint of their cause."""
    from sync import causes

    Conflict = apps.get_model("sync", "Conflict")
    rows = Conflict.objects.filter(state__in=("open", "resolving"))
    for one in rows.only("mapping_id", "kind", "rule_id", "code", "params").iterator(chunk_size=1000):
        found = causes.of_conflict(one.mapping_id, one.kind, one.rule_id, one.code, one.params)
        if found:
            Conflict.objects.filter(pk=one.pk).update(fingerprint=found)


class Migration(migrations.Migration):

    dependencies = [
        ('mappings', '0001_initial'),
        ('sync', '0006_pauses_and_epoch'),
    ]

    operations = [
        migrations.AddField(
            model_name='changedrecord',
            name='failed_code',
            field=models.CharField(blank=True, max_length=20),
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='failed_version',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='failed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='failing_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='fingerprint',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='link',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='sync.link'),
        ),
        migrations.AddField(
            model_name='conflict',
            name='fingerprint',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.AddField(
            model_name='conflict',
            name='retry',
            field=models.CharField(blank=True, max_length=20),
        ),
        migrations.AddField(
            model_name='operation',
            name='failing_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='operation',
            name='fingerprint',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.CreateModel(
            name='Ignoring',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('fingerprint', models.CharField(max_length=16)),
                ('reason', models.CharField(max_length=500)),
                ('by_name', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('mapping', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='ignorings', to='mappings.mapping')),
            ],
        ),
        migrations.AddField(
            model_name='changedrecord',
            name='ignored',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='hints', to='sync.ignoring'),
        ),
        migrations.AddField(
            model_name='conflict',
            name='ignored',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='conflicts', to='sync.ignoring'),
        ),
        migrations.AddField(
            model_name='operation',
            name='ignored',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='operations', to='sync.ignoring'),
        ),
        migrations.AddIndex(
            model_name='changedrecord',
            index=models.Index(condition=models.Q(('fingerprint', ''), _negated=True), fields=['mapping', 'fingerprint'], name='hint_failing'),
        ),
        migrations.AddIndex(
            model_name='conflict',
            index=models.Index(condition=models.Q(('state__in', ('open', 'resolving')), models.Q(('fingerprint', ''), _negated=True)), fields=['mapping', 'fingerprint'], name='conflict_failing'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=models.Index(condition=models.Q(('failing_since__isnull', False)), fields=['mapping', 'fingerprint'], name='operation_failing'),
        ),
        migrations.AddConstraint(
            model_name='changedrecord',
            constraint=models.UniqueConstraint(condition=models.Q(('fingerprint', ''), _negated=True), fields=('link',), name='one_failing_hint_per_link'),
        ),
        migrations.AddConstraint(
            model_name='operation',
            constraint=models.UniqueConstraint(condition=models.Q(('failing_since__isnull', False)), fields=('link', 'side', 'part'), name='one_failing_operation_per_link_side_and_part'),
        ),
        migrations.RunPython(note_causes, migrations.RunPython.noop),
    ]
