from django.urls import path

from mappings.views import editor, listing, pauses, policies, rules, settings, value_maps, versions

urlpatterns = [
    path("mappings/", listing.listing, name="mappings"),
    path("mappings/new/", listing.new, name="mapping-new"),
    path("mappings/<slug:slug>/", editor.editor, name="mapping"),
    path("mappings/<slug:slug>/sample/", editor.rules_with_sample, name="mapping-sample"),
    path("mappings/<slug:slug>/suggestions/", editor.take_suggestions, name="mapping-suggestions"),
    path("mappings/<slug:slug>/pause/", pauses.pause, name="mapping-pause"),
    path("mappings/<slug:slug>/resume/", pauses.resume, name="mapping-resume"),
    path("mappings/<slug:slug>/windows/", pauses.change, name="mapping-windows"),
    path("mappings/<slug:slug>/settings/", settings.settings, name="mapping-settings"),
    path("mappings/<slug:slug>/rules/new/", rules.new, name="mapping-rule-new"),
    path("mappings/<slug:slug>/rules/trial/", rules.trial, name="mapping-rule-trial"),
    path("mappings/<slug:slug>/rules/<int:pk>/", rules.edit, name="mapping-rule"),
    path("mappings/<slug:slug>/rules/<int:pk>/move/", rules.move, name="mapping-rule-move"),
    path("mappings/<slug:slug>/rules/<int:pk>/remove/", rules.remove, name="mapping-rule-remove"),
    path("mappings/<slug:slug>/publish/", versions.publish, name="mapping-publish"),
    path("mappings/<slug:slug>/discard/", versions.discard, name="mapping-discard"),
    path("mappings/<slug:slug>/versions/", versions.versions, name="mapping-versions"),
    path("mappings/<slug:slug>/versions/<int:number>/", versions.version, name="mapping-version"),
    path("mappings/<slug:slug>/versions/<int:number>/roll-back/", versions.roll_back_to, name="mapping-roll-back"),
    path("value-maps/", value_maps.listing, name="value-maps"),
    path("value-maps/new/", value_maps.new, name="value-map-new"),
    path("value-maps/<int:pk>/", value_maps.detail, name="value-map"),
    path("value-maps/<int:pk>/remove/", value_maps.remove, name="value-map-remove"),
    path("policies/", policies.listing, name="policies"),
    path("policies/new/", policies.new, name="policy-new"),
    path("policies/<int:pk>/", policies.detail, name="policy"),
    path("policies/<int:pk>/remove/", policies.remove, name="policy-remove"),
]
