from django.http import HttpResponse
from django.template import engines
from django.views.decorators.http import require_POST

import rplx

PAGE = """<!DOCTYPE html>
<title>Chat</title>
<form onsubmit="fetch('/say', {method: 'POST', body: new FormData(this)}); this.reset(); return false">
  {% csrf_token %}
  <input name="text" autofocus>
</form>
<ul id="chat"></ul>
<script src="/rpl/?identifier=SCRIPT"></script>
<script>
  const realplexor = new Dklab_Realplexor('/rpl/');
  realplexor.subscribe('chat', (data) => {
    const line = document.createElement('li');
    line.textContent = data.text;
    document.getElementById('chat').append(line);
  });
</script>
"""


def page(request):
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


@require_POST
def say(request):
    rplx.publish("chat", {"text": request.POST["text"]})
    return HttpResponse(status=204)
