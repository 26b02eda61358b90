from django.urls import path

from sync.views import audit, runs

urlpatterns = [
    path("runs/", runs.listing, name="runs"),
    path("runs/start/<slug:slug>/", runs.start, name="run-start"),
    path("runs/<int:pk>/", runs.run, name="run"),
    path("runs/<int:pk>/progress/", runs.progress, name="run-progress"),
    path("runs/<int:pk>/approve/", runs.approve, name="run-approve"),
    path("runs/<int:pk>/release/", runs.release, name="run-release"),
    path("runs/<int:pk>/hold/", runs.hold, name="run-hold"),
    path("audit/", audit.listing, name="audit"),
    path("audit/verify/", audit.verify, name="audit-verify"),
    path("audit/export/", audit.export, name="audit-export"),
    path("audit/<int:pk>/", audit.entry, name="audit-entry"),
]
