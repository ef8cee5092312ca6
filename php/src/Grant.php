<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Makes grants: signed texts that say which channels somebody may listen to (protocol page, part 12).
 *
 *     $token = Rplx\Grant::make($user->id, ['news', "user_{$user->id}_*"], 600);
 *
 * They are JSON Web Tokens (RFC 7519), signed by HMAC with SHA-256.
 */
final class Grant
{
    /** Variables of the environment: what signs grants, and its name in the server's grants.keys. */
    public const KEY_VARIABLE = 'RPLX_GRANT_KEY';
    public const KID_VARIABLE = 'RPLX_GRANT_KID';

    /** Bytes that a key has at least: as many as the hash has (RFC 7518, 3.2). */
    public const KEY_MIN = 32;

    /** Seconds: a grant cannot be taken back, so one of years is a mistake. */
    public const SECONDS_MAX = 366 * 86400;

    /** Channels that a server takes in one grant (part 12.1). */
    public const CHANNELS_MAX = 1000;

    private const FLAGS = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;

    /**
     * Returns a grant. Talks to no server.
     *
     * @param string|int|null $user the id of who holds it, or null
     * @param string|int|iterable<string|int> $channels ids, or prefixes that end in `*`
     * @param int $seconds how long it counts
     * @param array{key?: string|null, kid?: string|null, info?: mixed} $options key: `env:NAME`, `file:PATH` or the key
     *     itself, of 32 bytes at least; by default what the variable RPLX_GRANT_KEY holds, with the id RPLX_GRANT_KID.
     *     kid: the key's name in the server's grants.keys. info: anything that json_encode takes, told to the server
     * @throws InputException
     */
    public static function make($user, $channels, int $seconds = 600, array $options = []): string
    {
        if ($unknown = array_diff(array_keys($options), ['key', 'kid', 'info'])) {
            throw new InputException('Unknown option "' . reset($unknown) . '"; known: key, kid, info');
        }
        $key = $options['key'] ?? null;
        $kid = $options['kid'] ?? ($key === null ? self::variable(self::KID_VARIABLE) : null);
        if ($seconds <= 0 || $seconds > self::SECONDS_MAX) {
            throw new InputException('Seconds must be above 0, up to ' . self::SECONDS_MAX . ", $seconds given");
        }
        $now = time();
        $claims = $user === null ? [] : ['sub' => self::user($user)];
        $claims += ['exp' => $now + $seconds, 'iat' => $now, 'channels' => self::channels($channels)];
        if (isset($options['info'])) {
            $claims['info'] = $options['info'];
        }
        $head = ['alg' => 'HS256', 'typ' => 'JWT'] + ($kid === null ? [] : ['kid' => self::kid($kid)]);
        $signed = self::part(self::json($head)) . '.' . self::part(self::json($claims));
        return $signed . '.' . self::part(hash_hmac('sha256', $signed, self::key($key), true));
    }

    private static function part(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }

    /**
     * @param mixed $value
     */
    private static function json($value): string
    {
        $json = json_encode($value, self::FLAGS);
        if ($json === false) {
            throw new InputException('A grant cannot be written as JSON: ' . json_last_error_msg());
        }
        return $json;
    }

    /**
     * @param mixed $user
     */
    private static function user($user): string
    {
        if (!is_string($user) && !is_int($user) || $user === '') {
            $given = is_scalar($user) ? "\"$user\"" : gettype($user);
            throw new InputException("User must be a text or a whole number, $given given; null means nobody");
        }
        return (string)$user;
    }

    /**
     * @param mixed $channels
     * @return list<string>
     */
    private static function channels($channels): array
    {
        if (!is_iterable($channels)) {
            $channels = [$channels];
        }
        $checked = [];
        foreach ($channels as $channel) {
            $text = is_string($channel) || is_int($channel) ? (string)$channel : gettype($channel);
            if (strpos(substr($text, 0, -1), '*') !== false) {
                throw new InputException("A channel may have \"*\" at its end alone, \"$text\" given");
            }
            if ((!is_string($channel) && !is_int($channel)) || !preg_match('/\A(?:\w[\w.-]*\*?|\*)\z/', $text)) {
                throw new InputException("Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, \"$text\" given");
            }
            $checked[$text] = true;
        }
        if (count($checked) > self::CHANNELS_MAX) {
            throw new InputException('A grant has ' . self::CHANNELS_MAX . ' channels at most, ' . count($checked)
                . ' given; a prefix stands for many');
        }
        if ($checked === []) {
            throw new InputException('No channel given: a grant without one would let nobody listen to anything');
        }
        return array_map('strval', array_keys($checked));
    }

    /**
     * @param mixed $kid
     */
    private static function kid($kid): string
    {
        if (!is_string($kid) || !preg_match('/\A[\w.-]+\z/', $kid)) {
            throw new InputException('A key\'s id must match [A-Za-z0-9_.-]+');
        }
        return $kid;
    }

    /**
     * Returns the key's bytes. What it throws never shows them.
     *
     * @param mixed $key
     */
    private static function key($key): string
    {
        if ($key !== null && !is_string($key)) {
            throw new InputException('Key must be text, not ' . gettype($key));
        }
        $key = $key ?? 'env:' . self::KEY_VARIABLE;
        $where = 'it';
        if (strncmp($key, 'env:', 4) === 0) {
            $name = substr($key, 4);
            $where = "the variable $name";
            $key = self::variable($name);
            if ($key === null) {
                throw new InputException("There is no key: $where is not set; it holds what signs grants, "
                    . self::KEY_MIN . ' bytes at least');
            }
        } elseif (strncmp($key, 'file:', 5) === 0) {
            $where = substr($key, 5);
            $read = @file_get_contents($where);
            if ($read === false) {
                throw new InputException("Key cannot be read: $where");
            }
            $key = rtrim($read, "\r\n");
        }
        if (strncmp($key, '-----BEGIN ', 11) === 0) {
            throw new InputException("Key must be a shared secret, $where is a PEM: sign with a JWT library there");
        }
        if (strlen($key) < self::KEY_MIN) {
            throw new InputException('Key must have ' . self::KEY_MIN . " bytes at least, $where has " . strlen($key));
        }
        return $key;
    }

    /**
     * Returns a variable of the environment, as web servers and .env files give it, too; null if it is not set.
     */
    private static function variable(string $name): ?string
    {
        $value = $_SERVER[$name] ?? $_ENV[$name] ?? getenv($name);
        return is_string($value) && $value !== '' ? $value : null;
    }
}
