<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Writes the identifier marker (protocol page, part 1), and adds and removes the prefix that ids have on the wire.
 */
final class Marker
{
    private string $prefix;
    private string $start;
    private string $word;

    public function __construct(Options $options)
    {
        $this->prefix = ($options->login === null ? '' : $options->login . '_') . $options->namespace;
        $credentials = $options->login === null ? '' : "$options->login:$options->password@";
        $this->word = $options->identifier;
        $this->start = "$this->word=$credentials";
    }

    /**
     * Returns the marker of a message.
     *
     * @param mixed $channels an id, a list of ids or a map id => cursor, mixed; a null cursor is none
     * @param mixed $limiters an id or a list of ids; null means visible to all listeners
     * @return string|null the marker; null if there is no channel
     * @throws InputException if an id or a cursor is wrong, or the list of limiters is empty
     */
    public function forSend($channels, $limiters): ?string
    {
        $items = [];
        foreach (self::asArray($channels) as $key => $value) {
            // PHP turns the key "12" into the number 12, so a key that is a number is taken for a position in a list.
            $items[] = is_int($key) ? $this->full($value) : self::cursor($value) . $this->full($key);
        }
        if ($items === []) {
            return null;
        }
        $limiters = $limiters === null ? null : self::asArray($limiters);
        if ($limiters === []) {
            // Without limiters the message would go to everybody, which an empty list cannot mean.
            throw new InputException('No identifier to limit the message to given; null means everybody');
        }
        foreach ($limiters ?? [] as $limiter) {
            $items[] = '*' . $this->full($limiter);
        }
        return $this->start . implode(',', $items);
    }

    /**
     * Returns channels as the wire knows them.
     *
     * @param mixed $channels as for forSend
     * @return array<int|string, string|null> full id => cursor
     * @throws InputException if an id or a cursor is wrong, or there is none
     */
    public function cursors($channels): array
    {
        $cursors = [];
        foreach (self::asArray($channels) as $key => $value) {
            if (is_int($key)) {
                $cursors[$this->full($value)] = null;
            } else {
                $cursors[$this->full($key)] = $value === null ? null : rtrim(self::cursor($value), ':');
            }
        }
        if ($cursors === []) {
            throw new InputException('No identifier given');
        }
        return $cursors;
    }

    /**
     * Returns the marker of a poll or a stream, which names nobody's login.
     *
     * @param array<int|string, string|null> $cursors full id => cursor
     */
    public function forListening(array $cursors): string
    {
        $items = [];
        foreach ($cursors as $id => $cursor) {
            $items[] = $cursor === null ? (string)$id : "$cursor:$id";
        }
        return $this->word . '=' . implode(',', $items);
    }

    /**
     * Returns the marker of a command: credentials, if there are any, and no channel.
     */
    public function forCommand(): string
    {
        return $this->start;
    }

    /**
     * Returns the arguments of ONLINE and WATCH.
     *
     * @param mixed $prefixes a prefix or a list of them; null or none means everything in the namespace
     * @return string the arguments, each with a space before it
     * @throws InputException if a prefix is wrong
     */
    public function prefixes($prefixes): string
    {
        $full = [];
        foreach ($prefixes === null ? [] : self::asArray($prefixes) as $prefix) {
            $full[] = $prefix === '' ? $this->prefix : $this->full($prefix);
        }
        $full = $full === [] ? [$this->prefix] : $full;
        // An empty prefix asks for everything, which is no argument at all on the wire.
        return in_array('', $full, true) ? '' : ' ' . implode(' ', $full);
    }

    /**
     * Returns an id of the wire without the prefix.
     */
    public function short(string $id): string
    {
        $length = strlen($this->prefix);
        return strncmp($id, $this->prefix, $length) === 0 ? (string)substr($id, $length) : $id;
    }

    /**
     * Returns an array by ids of the wire with ids without the prefix.
     *
     * @param array<int|string, mixed> $values
     * @return array<int|string, mixed>
     */
    public function shortKeys(array $values): array
    {
        $short = [];
        foreach ($values as $id => $value) {
            $short[$this->short((string)$id)] = $value;
        }
        return $short;
    }

    /**
     * Returns any value as text for a message.
     *
     * @param mixed $value
     */
    public static function text($value): string
    {
        return is_scalar($value) || (is_object($value) && method_exists($value, '__toString'))
            ? (string)$value
            : ($value === null ? '' : gettype($value));
    }

    /**
     * Returns text for a message, on one line: control characters are escaped as in C.
     */
    public static function shown(string $text): string
    {
        return addcslashes($text, "\0..\37\177");
    }

    /**
     * @param mixed $id
     */
    private function full($id): string
    {
        $text = self::text($id);
        // 7.0 is the id 7, but 1.5 is nobody's name.
        $form = is_float($id) ? '/\A\d+\z/' : '/\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z/';
        if (is_bool($id) || is_array($id) || !preg_match($form, $text)) {
            throw new IdentifierException($text);
        }
        return $this->prefix . $text;
    }

    /**
     * Returns whether the wire has a form for this cursor.
     *
     * @param mixed $cursor
     */
    public static function isCursor($cursor): bool
    {
        return !is_bool($cursor) && preg_match('/\A\d+(\.\d+)?\z/', self::cursorText($cursor)) === 1;
    }

    /**
     * @param mixed $cursor
     */
    private static function cursor($cursor): string
    {
        if ($cursor === null) {
            return '';
        }
        $text = self::cursorText($cursor);
        if (!self::isCursor($cursor)) {
            throw new InputException('Cursor must be numeric, "' . self::shown($text) . '" given');
        }
        return "$text:";
    }

    /**
     * @param mixed $cursor
     */
    private static function cursorText($cursor): string
    {
        // microtime(true) has six decimals. %F never writes a decimal comma or an exponent.
        return is_float($cursor) ? rtrim(rtrim(sprintf('%.6F', $cursor), '0'), '.') : self::text($cursor);
    }

    /**
     * @param mixed $value
     * @return array<int|string, mixed>
     */
    private static function asArray($value): array
    {
        return $value instanceof \Traversable ? iterator_to_array($value) : (is_array($value) ? $value : [$value]);
    }
}
