<?php

declare(strict_types=1);

namespace Rplx;

/**
 * What can be set about a client, each with its default.
 */
final class Options
{
    /** Put before each id on the way out, taken off on the way in; `[A-Za-z0-9_]*`. */
    public string $namespace = '';

    /** Login of the server's users file; its channels begin with `LOGIN_`, which is put before the namespace. */
    public ?string $login = null;

    /** Its password; no `@` and no white space, since the wire has no way to quote them. */
    public string $password = '';

    /** The server's option `pages.identifier`. */
    public string $identifier = 'identifier';

    /** Seconds for the connection to be made, TLS included. */
    public float $connectTimeout = 5.0;

    /** Seconds for one whole request and its answer; not restarted by each byte. */
    public float $timeout = 10.0;

    /**
     * True: one connection for all calls. False: one for each call, ended by half-close as the old library did, and an
     * empty answer to a send is success, since old servers give none.
     */
    public bool $keepAlive = true;

    /** Flags for json_encode. */
    public int $jsonFlags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;

    /** Bytes that an answer may have. */
    public int $answerMax = 67108864;

    /**
     * Null: TLS on port 443 only. True: TLS. An array: TLS with these SSL context options, such as
     * `['cafile' => '/etc/ssl/our-ca.pem']`. The certificate is checked.
     *
     * @var bool|array<string, mixed>|null
     */
    public $tls = null;

    /**
     * @param array<string, mixed> $values by the names above; null leaves the default
     * @throws InputException on an unknown name or a wrong value
     */
    public static function fromArray(array $values): self
    {
        $options = new self();
        foreach ($values as $name => $value) {
            if (!property_exists($options, (string)$name)) {
                $known = implode(', ', array_keys(get_object_vars($options)));
                throw new InputException("Unknown option \"$name\"; known: $known");
            }
            if ($value === null) {
                continue;
            }
            try {
                $options->$name = $value;
            } catch (\TypeError $error) {
                throw new InputException("Option \"$name\" has a wrong type: " . gettype($value), 0, $error);
            }
        }
        $options->check();
        return $options;
    }

    private function check(): void
    {
        if (!preg_match('/\A[A-Za-z0-9_]*\z/', $this->namespace)) {
            throw new InputException("Identifier must be alphanumeric, \"$this->namespace\" given");
        }
        if (!preg_match('/\A\w[\w.-]*\z/', $this->identifier)) {
            throw new InputException("Option \"identifier\" must be a word, \"$this->identifier\" given");
        }
        if ($this->login !== null && !preg_match('/\A[A-Za-z0-9]+\z/', $this->login)) {
            throw new InputException("Login must be alphanumeric, \"$this->login\" given");
        }
        if (preg_match('/[@\s\x00-\x1f\x7f]/', $this->password)) {
            throw new InputException('Password must not hold "@", white space or control characters');
        }
        if ($this->tls !== null && !is_bool($this->tls) && !is_array($this->tls)) {
            throw new InputException('Option "tls" must be true, false or an array of SSL context options');
        }
        foreach (['connectTimeout', 'timeout', 'answerMax'] as $name) {
            if ($this->$name <= 0) {
                throw new InputException("Option \"$name\" must be greater than 0");
            }
        }
    }
}
