<?php

/**
 * The sending half of the sandbox: forms that send to channels. Anybody who reaches this page can publish, so run it
 * only on your own machine:
 *
 *     RPLX_IN=127.0.0.1:10010 php -S 127.0.0.1:8000 -t php/examples
 */

declare(strict_types=1);

require_once __DIR__ . '/../src/autoload.php';
require_once __DIR__ . '/publish.php';

/**
 * @param mixed $text
 */
function html($text): string
{
    return htmlspecialchars((string)$text, ENT_QUOTES, 'UTF-8');
}

[$receipts, $problem] = [[], ''];
if (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST') {
    try {
        if (!isOwnPage($_SERVER)) {
            throw new InvalidArgumentException('This form was sent by another site');
        }
        // HOST:PORT, or unix:/PATH
        preg_match('/\A(.+?)(?::(\d+))?\z/', getenv('RPLX_IN') ?: '127.0.0.1:10010', $found);
        $receipts = publish(new Rplx\Client($found[1] ?? '', (int)($found[2] ?? 10010)), $_POST);
    } catch (Rplx\Exception | InvalidArgumentException $error) {
        $problem = $error->getMessage();
        http_response_code($error instanceof Rplx\ConnectionException ? 502 : 400);
    }
}
$ids = textOf($_POST, 'ids') ?: 'Alpha, Beta';
header('Content-Type: text/html; charset=utf-8');

?>
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Send to channels</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 1em auto; padding: 0 1em }
fieldset { margin: 0 0 1em; border: 1px solid #ccc; border-radius: 6px }
label { display: block; margin: .3em 0 }
input { font: inherit; width: 100%; box-sizing: border-box }
button { font: inherit; margin: .4em 0 }
.problem { color: #b00020; white-space: pre-wrap }
</style>
</head>
<body>
<h1>Send to channels</h1>
<?php if ($problem !== '') : ?>
<p class="problem"><?= html($problem) ?></p>
<?php endif ?>
<?php if ($receipts !== []) : ?>
<p>Stored: <?= count($receipts) ?> message(s). The last one:</p>
<ul>
    <?php foreach (end($receipts) as $id => $cursor) : ?>
<li><?= html($id) ?> at <code><?= html($cursor) ?></code></li>
    <?php endforeach ?>
</ul>
<?php endif ?>
<form method="post">
<label>Channels <input name="ids" value="<?= html($ids) ?>"></label>
<fieldset>
<legend>One message</legend>
<label>Text <input name="text" value="Hello"></label>
<button name="action" value="message">Send</button>
</fieldset>
<fieldset>
<legend>A burst</legend>
<label>How many <input name="count" type="number" min="1" max="<?= BURST_MAX ?>" value="10"></label>
<button name="action" value="burst">Send them</button>
</fieldset>
<fieldset>
<legend>A nested object</legend>
<label>Name <input name="object[user][name]" value="Ann"></label>
<label>First tag <input name="object[user][tags][]" value="new"></label>
<label>Second tag <input name="object[user][tags][]" value="kind"></label>
<button name="action" value="object">Send it</button>
</fieldset>
</form>
</body>
</html>
