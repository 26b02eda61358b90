from django.urls import path

from sync.views import audit, records, review, runs

urlpatterns = [
    path("review/", review.queue, name="review-queue"),
    path("review/answers/", review.answers, name="review-answers"),
    path("review/progress/<int:pk>/", review.progress, name="review-progress"),
    path("review/<int:pk>/", review.conflict, name="conflict"),
    path("review/<int:pk>/alike/", review.same, name="review-same"),
    path("review/<int:pk>/candidates/", review.candidates, name="review-candidates"),
    path("review/<int:pk>/whole/", review.whole, name="conflict-whole"),
    path("records/", records.listing, name="records"),
    path("records/search/", records.search, name="records-search"),
    path("records/<int:pk>/", records.record, name="record"),
    path("records/<int:pk>/now/", records.now, name="record-now"),
    path("records/<int:pk>/do/", records.act, name="record-act"),
    path("writes/<int:pk>/undo/", review.undo, name="write-undo"),
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
