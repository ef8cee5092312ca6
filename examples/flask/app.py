from flask import Flask, request

import rplx
from rplx.wsgi import RealplexorMiddleware

app = Flask(__name__)
app.wsgi_app = RealplexorMiddleware(app.wsgi_app, path="/rpl")

PAGE = """<!DOCTYPE html>
<title>Chat</title>
<form onsubmit="fetch('/say', {method: 'POST', body: new FormData(this)}); this.reset(); return false">
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


@app.get("/")
def page():
    return PAGE


@app.post("/say")
def say():
    rplx.publish("chat", {"text": request.form["text"]})
    return "", 204
