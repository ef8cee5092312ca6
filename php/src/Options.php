<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The options of a client, with their defaults.
 */
final class Options
{
    /** Text `[A-Za-z0-9_]*` that is put before each id sent, and taken off each id received. */
    public string $namespace = '';

    /** Login of the server's users file. Its channels begin with `LOGIN_`, which is put before the namespace. */
    public ?string $login = null;

    /** Password of the login, without `@` and white space, since the wire has no way to quote them. */
    public string $password = '';

    /** Word before `=` in the marker: the server's option `pages.identifier`. */
    public string $identifier = 'identifier';

    /** Seconds within which the connection must be made, TLS included. */
    public float $connectTimeout = 5.0;

    /** Seconds within which a request must be answered as a whole. A byte that comes does not start them anew. */
    public float $timeout = 10.0;

    /**
     * True: one connection serves all calls. False: each call has its own, ended by half-close as in the old library,
     * and a send without an answer counts as done, since old servers give none.
     */
    public bool $keepAlive = true;

    /** Flags given to json_encode. */
    public int $jsonFlags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;

    /** The most bytes that an answer may have. */
    public int $answerMax = 67108864;

    /**
     * Null: TLS on port 443 only. True: TLS. An array: TLS with these SSL context options, such as
     * `['cafile' => '/etc/ssl/our-ca.pem']`. The certificate is checked.
     *
     * @var bool|array<string, mixed>|null
     */
    public $tls = null;

    /**
     * Returns options with some of them set.
     *
     * @param array<string, mixed> $values by the names above; null leaves the default
     * @throws InputException if a name is unknown or a value is wrong
     */
    public static function fromArray(array $values): self
    {
        $options = new self();
        self::assign($options, $values);
        $options->check();
        return $options;
    }

    /**
     * Sets properties of an object by their names; null leaves the default.
     *
     * @param array<string, mixed> $values
     * @throws InputException if a name is unknown or a value has a wrong type
     */
    public static function assign(object $options, array $values): void
    {
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
