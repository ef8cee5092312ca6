/**
 * Event streams, read from the answer to a fetch (protocol page, part 10): an EventSource would neither show a refusal nor take a POST.
 */

/** Returns the block that moves channels on to a mark, `CURSOR:*` and then `,CURSOR:NAME` for those of which the first does not hold. */
export function markBlock(mark, names) {
  const cursors = Object.create(null);
  const ids = Object.create(null);
  for (const item of mark.split(',')) {
    const [cursor, name] = item.split(':');
    cursors[name] = cursor;
  }
  for (const name of names) ids[name] = cursors[name] ?? cursors['*'];
  return { ids, isMark: true };
}

/** Returns the fields of an event, by their names; a comment is one without a name. */
function fieldsOf(event) {
  const fields = {};
  for (const line of event.split('\n')) {
    const [, name, value] = /^(\w*):? ?(.*)/.exec(line);
    fields[name] = name in fields ? `${fields[name]}\n${value}` : value;
  }
  return fields;
}

/** Calls `give` with what each event says, and returns a promise of what the end says. */
async function read(body, names, give) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const end = { status: 0, text: 'The stream ended' };
  let rest = '';
  let isOpen = false;
  const tell = (said) => give({ blocks: [], asks: false, more: true, ...said });
  const take = ({ id, event, data, retry, '': comment }) => {
    const said = data && JSON.parse(data);
    if (retry) end.retryAfter = retry / 1000;
    if (comment) end.text = comment;
    if (event === 'open') tell({ position: said.cursor, gaps: said.gaps, asks: (isOpen = true) });
    else if (event === 'gap') tell({ gaps: said.ids });
    else if (event === 'refused') tell({ refused: said.ids });
    else if (event === 'expires') tell({ expires: said.in });
    else if (!event && (said || id)) tell({ blocks: [said || markBlock(id, names)] });
    return event === 'bye';
  };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = events.pop();
    if (events.some((event) => take(fieldsOf(event)))) return end;
  }
  if (isOpen) {
    end.retryAfter *= Math.random(); // nobody has told each client a time of its own
  } else if (end.retryAfter) {
    end.status = 503; // a refusal that passes
    end.text = 'HTTP 503: ' + end.text;
  }
  return end;
}

/** Returns the transport of one request. `isPoll` is called where a server that knows no streams answers it as a poll. */
export const stream = ({ client }, { cursors }, isPoll) => ({
  tail: '&stream&client=' + client,
  ask: (request, accepted, give, ask) => ask(request, accepted, give, (body, type) => (/event-stream/.test(type) ? read(body, Object.keys(cursors), give) : isPoll())),
});
