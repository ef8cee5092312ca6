from django.urls import path

from mysite import views

urlpatterns = [
    path("", views.page),
    path("say", views.say),
]
