<?php

declare(strict_types=1);

require_once __DIR__ . '/../Dklab/Realplexor.php';
require_once __DIR__ . '/Listener.php';
require_once __DIR__ . '/Stub.php';
require_once __DIR__ . '/Live.php';
