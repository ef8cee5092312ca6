<?php

/**
 * The PHP library of Dklab Realplexor, as sites have called it since 2009, on top of Rplx\Client. One require_once of
 * this file is enough if the folders Dklab and src lie side by side. Composer loads it too.
 */

declare(strict_types=1);

if (!class_exists('Rplx\Client')) {
    require_once __DIR__ . '/../src/autoload.php';
}

/**
 * Thrown for everything that goes wrong, with the messages of the protocol page, part 6. The code is the errno or the
 * HTTP status.
 */
class Dklab_Realplexor_Exception extends Exception
{
}

/**
 * Sends messages to channels, and asks who is online.
 *
 * Parameters have no type declarations, so that old subclasses can override each method.
 */
class Dklab_Realplexor
{
    /** @var Rplx\Client */
    private $client;

    /** @var string */
    private $host;

    /** @var int */
    private $port;

    /** @var array<string, mixed> */
    private $options;

    /**
     * Does not connect yet; the first call does.
     *
     * @param string               $host       host of the IN line, or unix:/PATH, for which the port does not count
     * @param int|string           $port       port of the IN line; 443 means TLS
     * @param string|null          $namespace  text that is put before each id sent, and taken off each id received
     * @param string               $identifier the server's option IDENTIFIER
     * @param array<string, mixed> $options    further ones of Rplx\Options, such as timeout or tls
     * @throws Dklab_Realplexor_Exception
     */
    public function __construct($host, $port, $namespace = null, $identifier = 'identifier', $options = [])
    {
        $this->host = (string)$host;
        $this->port = (int)$port;
        $this->options = $options + [
            'namespace' => (string)$namespace,
            'identifier' => (string)$identifier,
            'keepAlive' => false,
            'jsonFlags' => 0,
        ];
        $this->connect();
    }

    /**
     * Uses these credentials from now on, and puts `LOGIN_` before the namespace.
     *
     * @param string|null $login    the login; null means without credentials again
     * @param string|null $password
     * @return void
     * @throws Dklab_Realplexor_Exception
     */
    public function logon($login, $password)
    {
        $this->options['login'] = $login === null ? null : (string)$login;
        $this->options['password'] = (string)$password;
        $this->connect();
    }

    /**
     * Sends a message. With an empty list it sends nothing and throws nothing.
     *
     * @param mixed $idsAndCursors  an id, a list of ids or a map id => cursor, mixed. An id whose cursor is a number
     *     that the wire has no form for (-5, INF) is left out silently, as in the old library
     * @param mixed $data           anything that json_encode takes
     * @param mixed $showOnlyForIds null, or ids: only listeners that also listen to one of them get the message. An
     *     empty array means everybody, as in the old library
     * @return bool always true
     * @throws Dklab_Realplexor_Exception
     */
    public function send($idsAndCursors, $data, $showOnlyForIds = null)
    {
        $sendable = self::withoutForeignCursors($idsAndCursors);
        self::checkIds($sendable);
        $limiters = self::checkedList($showOnlyForIds);
        $this->call('send', [$sendable, $data, $showOnlyForIds === [] ? null : $limiters]);
        return true;
    }

    /**
     * Returns the ids that are online now.
     *
     * @param mixed $idPrefixes null, or beginnings of ids
     * @return list<string>
     * @throws Dklab_Realplexor_Exception
     */
    public function cmdOnline($idPrefixes = null)
    {
        return $this->call('online', [self::checkedList($idPrefixes)]);
    }

    /**
     * Returns the ids that are online now, and how many connections listen to each.
     *
     * @param mixed $idPrefixes null, or beginnings of ids
     * @return array<int|string, string> id => count, as text, in the order of the server
     * @throws Dklab_Realplexor_Exception
     */
    public function cmdOnlineWithCounters($idPrefixes = null)
    {
        return array_map('strval', $this->call('onlineWithCounters', [self::checkedList($idPrefixes)]));
    }

    /**
     * Returns which ids came online and went offline after a position.
     *
     * @param int|string|null $fromPos    the "pos" of the last event seen; 0 or null to start
     * @param mixed           $idPrefixes null, or beginnings of ids
     * @return list<array{event: string, pos: string, id: string}> event is online, offline or FAKE
     * @throws Dklab_Realplexor_Exception
     */
    public function cmdWatch($fromPos, $idPrefixes = null)
    {
        $position = $fromPos === null ? '0' : Rplx\Marker::text($fromPos);
        if (!preg_match('/\A\d+(\.\d+)?\z/', $position)) {
            throw new Dklab_Realplexor_Exception("Position value must be numeric, \"$position\" given");
        }
        $rows = [];
        foreach ($this->call('watch', [(int)$position, self::checkedList($idPrefixes)]) as $event) {
            $rows[] = ['event' => $event->kind, 'pos' => (string)$event->position, 'id' => $event->id];
        }
        return $rows;
    }

    /**
     * @param mixed $idsAndCursors
     * @return mixed
     */
    private static function withoutForeignCursors($idsAndCursors)
    {
        if ($idsAndCursors instanceof Traversable) {
            $idsAndCursors = iterator_to_array($idsAndCursors);
        }
        return !is_array($idsAndCursors) ? $idsAndCursors : array_filter(
            $idsAndCursors,
            static function ($cursor, $id) {
                return is_int($id) || !is_numeric($cursor) || Rplx\Marker::isCursor($cursor);
            },
            ARRAY_FILTER_USE_BOTH
        );
    }

    /**
     * Refuses ids of `Rplx\Client` that the old library had not: those with a dot or a dash.
     *
     * @param mixed $ids an id, a list of ids or a map id => cursor
     * @return void
     * @throws Dklab_Realplexor_Exception
     */
    private static function checkIds($ids)
    {
        foreach (is_array($ids) ? $ids : [$ids] as $key => $value) {
            $id = Rplx\Marker::text(is_int($key) ? $value : $key);
            if (strpbrk($id, '.-') !== false) {
                throw new Dklab_Realplexor_Exception("Identifier must be alphanumeric, \"$id\" given");
            }
        }
    }

    /**
     * @param mixed $ids null, an id or beginning of ids, or several
     * @return mixed the same; what can be walked only once as an array
     * @throws Dklab_Realplexor_Exception
     */
    private static function checkedList($ids)
    {
        $ids = $ids instanceof Traversable ? iterator_to_array($ids, false) : $ids;
        self::checkIds(is_array($ids) ? array_values($ids) : $ids);
        return $ids;
    }

    /**
     * @return void
     */
    private function connect()
    {
        try {
            $this->client = new Rplx\Client($this->host, $this->port, $this->options);
        } catch (Rplx\Exception $error) {
            throw self::translated($error);
        }
    }

    /**
     * @param string      $method
     * @param list<mixed> $arguments
     * @return mixed
     */
    private function call($method, array $arguments)
    {
        try {
            return $this->client->$method(...$arguments);
        } catch (Rplx\Exception $error) {
            throw self::translated($error);
        }
    }

    /**
     * Returns the exception with the text of the old library, which names neither host nor port.
     *
     * @return Dklab_Realplexor_Exception
     */
    private static function translated(Rplx\Exception $error)
    {
        $text = $error instanceof Rplx\ConnectionException ? $error->detail() : $error->getMessage();
        if ($error instanceof Rplx\IdentifierException) {
            $text = "Identifier must be alphanumeric, \"{$error->given()}\" given";
        }
        return new Dklab_Realplexor_Exception($text, $error->getCode(), $error);
    }
}
