import os

from django.core.wsgi import get_wsgi_application

from rplx.wsgi import RealplexorMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = RealplexorMiddleware(get_wsgi_application(), path="/rpl")
