<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Sends messages to channels, and asks who is online: the IN line of a Realplexor server (protocol page, part 3).
 * Listens as a browser does (parts 9 and 10).
 *
 *     $client = new Rplx\Client('127.0.0.1', 10010, ['namespace' => 'shop_']);
 *     $cursors = $client->send('news', ['title' => 'Hello']);
 *
 * Every call may throw InputException (an argument is wrong; nothing was sent), ConnectionException (the server is not
 * reached, is silent or is gone), RefusedException (the server refused) or ProtocolException (the answer is not one of
 * a Realplexor server). All of them are Rplx\Exception.
 */
final class Client
{
    private string $host;
    private Options $options;
    private Marker $marker;
    private Connection $connection;

    /**
     * Does not connect yet; the first call does.
     *
     * @param string               $host    name or address; an IPv6 address with or without brackets; or unix:/PATH,
     *     the path of a socket, for which the port does not count
     * @param int                  $port    port of the IN line; 443 means TLS, unless the option tls says otherwise
     * @param array<string, mixed> $options as in Rplx\Options
     * @throws InputException if the host, the port or an option is wrong
     */
    public function __construct(string $host, int $port = 10010, array $options = [])
    {
        $this->host = $host;
        $this->options = Options::fromArray($options);
        $this->marker = new Marker($this->options);
        $this->connection = new Connection($host, $port, $this->options);
    }

    /**
     * Stores a message in one or more channels and sends it to their listeners.
     *
     * @param string|int|iterable<mixed> $channels an id, a list of ids, or a map id => cursor; both may be mixed.
     *     An id is `[A-Za-z0-9_][A-Za-z0-9_.-]*`. A cursor is a decimal number, as text if it must be exact; null
     *     takes the server's clock. With an empty list nothing is sent.
     * @param mixed $data anything that json_encode takes
     * @param string|int|iterable<mixed>|null $onlyFor only listeners that also listen to one of these ids get the
     *     message; null means everybody. An empty list is an error
     * @return array<int|string, string> id => cursor under which the message is stored there
     */
    public function send($channels, $data, $onlyFor = null): array
    {
        $json = json_encode($data, $this->options->jsonFlags);
        if ($json === false) {
            throw new InputException('Data cannot be written as JSON: ' . json_last_error_msg());
        }
        return $this->sendJson($channels, $json, $onlyFor);
    }

    /**
     * Does what send() does, with data that is JSON already.
     *
     * @param string|int|iterable<mixed>      $channels
     * @param string|int|iterable<mixed>|null $onlyFor
     * @return array<int|string, string>
     */
    public function sendJson($channels, string $json, $onlyFor = null): array
    {
        if (($capture = Testing\Capture::current()) !== null) {
            return $capture->record($this->marker, $channels, $json, $onlyFor);
        }
        $marker = $this->marker->forSend($channels, $onlyFor);
        $answer = $marker === null ? null : $this->connection->exchange($marker, $json, false);
        $receipt = [];
        $body = $answer === null ? '' : self::accepted($answer);
        foreach (self::lines($body, '/\A([\w.-]+) (\d+(?:\.\d+)?)\z/') as $line) {
            $receipt[$this->marker->short($line[1])] = $line[2];
        }
        return $receipt;
    }

    /**
     * Returns the ids that have a listener, or had one a moment ago (the server's option presence.offline_timeout).
     *
     * @param string|iterable<string>|null $prefixes beginnings of ids; null or none means all of the namespace
     * @return list<string> the ids, sorted
     */
    public function online($prefixes = null): array
    {
        return array_map('strval', array_keys($this->onlineWithCounters($prefixes)));
    }

    /**
     * Returns what online() returns, with the number of connections that listen to each id now.
     *
     * @param string|iterable<string>|null $prefixes
     * @return array<int|string, int> id => number; 0 if the last listener left a moment ago
     */
    public function onlineWithCounters($prefixes = null): array
    {
        $counters = [];
        $body = $this->command('ONLINE' . $this->marker->prefixes($prefixes));
        foreach (self::lines($body, '/\A([\w.-]+) (\d+)\z/') as $line) {
            $counters[$this->marker->short($line[1])] = (int)$line[2];
        }
        return $counters;
    }

    /**
     * Returns which ids came online and went offline after a position of the server's event log.
     *
     * @param int                          $position position of the last event seen; 0 asks for one to start from
     * @param string|iterable<string>|null $prefixes beginnings of ids; null or none means all of the namespace
     * @return list<Event> the events, oldest first. A single Event::FAKE gives the position to start from: nothing
     *                     before it is known. An Event::FAKE before others says that the server has forgotten the
     *                     events up to its position: ask online() who is there
     */
    public function watch(int $position = 0, $prefixes = null): array
    {
        if ($position < 0) {
            throw new InputException("Position value must be numeric, \"$position\" given");
        }
        $events = [];
        $body = $this->command("WATCH $position" . $this->marker->prefixes($prefixes));
        foreach (self::lines($body, '/\A(online|offline|FAKE) (\d+):([\w.-]+)\z/') as $line) {
            $id = $line[1] === Event::FAKE ? $line[3] : $this->marker->short($line[3]);
            $events[] = new Event($line[1], (int)$line[2], $id);
        }
        return $events;
    }

    /**
     * Returns the server's state by sections: data_to_send, connected_fhs, online_timers, cleanup_timers, pairs_by_fhs.
     * Ids are those of the wire. A client with a login gets nothing.
     *
     * @return array<string, array<int|string, string>> section => key => text
     */
    public function stats(): array
    {
        $sections = [];
        $name = '';
        foreach (self::lines($this->command('STATS'), '/\A(?:\[(\w+)\]|(\S+) => (.*))\z/') as $line) {
            if ($line[1] !== '') {
                $name = $line[1];
                $sections[$name] = [];
            } else {
                $sections[$name][$line[2]] = $line[3];
            }
        }
        return $sections;
    }

    /**
     * Listens to channels, for scripts on the command line:
     *
     *     foreach ($client->listen(['news'], 'http://127.0.0.1:8088/') as $message) {
     *         var_dump($message->data);
     *     }
     *
     * What is sent after this has returned is received, over reconnects and restarts as long as the server's history
     * holds it.
     *
     * @param string|int|iterable<mixed> $channels as for send(); with a cursor a channel goes on from there
     * @param string|null          $wait    the WAIT line: http://HOST:PORT/, https://HOST/ or unix:/PATH; null means
     *     port 8088 of the IN line's host
     * @param array<string, mixed> $options as in Rplx\ListenerOptions
     */
    public function listen($channels, ?string $wait = null, array $options = []): Listener
    {
        if ($wait === null) {
            if (Address::isPath($this->host)) {
                throw new InputException('The WAIT line must be given, as the IN line is at the path of a socket');
            }
            $wait = 'http://' . Address::of($this->host, 8088, false)->text . '/';
        }
        return new Listener($this->options, $this->marker, $channels, $wait, ListenerOptions::fromArray($options));
    }

    /**
     * Closes the kept connection. The next call opens another.
     */
    public function close(): void
    {
        $this->connection->close();
    }

    private function command(string $command): string
    {
        $answer = $this->connection->exchange($this->marker->forCommand(), "$command\n\n", true);
        if ($answer === null) {
            throw new ProtocolException('Non-HTTP response received: nothing at all');
        }
        return self::accepted($answer);
    }

    private static function accepted(Answer $answer): string
    {
        if ($answer->status !== 200) {
            throw new RefusedException($answer->status, $answer->phrase, $answer->body);
        }
        return $answer->body;
    }

    /**
     * @return iterable<array<int, string>> the matches of each line that is not blank
     */
    private static function lines(string $body, string $pattern): iterable
    {
        foreach (preg_split('/\r?\n/', $body, -1, PREG_SPLIT_NO_EMPTY) as $line) {
            if (!preg_match($pattern, $line, $match)) {
                throw new ProtocolException("Line of the answer not understood: \"$line\"");
            }
            yield $match;
        }
    }
}
