import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { type Files, serving } from './testing.fixture.js'

/** Answers as Redis does, and notes what it was asked. */
const REDIS = `<?php
$server = stream_socket_server('tcp://127.0.0.1:6379');
while ($client = stream_socket_accept($server, -1))
  while (($head = fgets($client)) !== false) {
    $words = [];
    for ($i = (int) substr($head, 1); $i > 0; $i--) {
      $length = (int) substr(fgets($client), 1);
      $words[] = substr(stream_get_contents($client, $length + 2), 0, -2);
    }
    file_put_contents('/home/vcap/tmp/asked', implode(' ', $words) . "\\n", FILE_APPEND);
    fwrite($client, $words[0] === 'GET' ? "\$-1\\r\\n" : "+OK\\r\\n");
  }
`

// Long: with the longer suites only.
const suite = process.env['BLOOMERY_TEST_FULL'] === '1' ? await describeWithDocker() : describe.skip
suite('apps behind a web server of the stack', () => {
  const staging = withStaging(['staticfile_buildpack', 'php_buildpack', 'nginx_buildpack'])
  const { answer, stage, staged } = staging
  /** Status and body of each address, in order. */
  const statuses = (...lines: string[]) => lines.map((line) => `curl -s -w ' %{http_code}\\n' ${line}`).join('; ')

  it('staticfile: listings, includes, passwords, pages by status, preloaded HSTS, what begins with a dot stays unseen', async () => {
    const files: Files = {
      Staticfile: [
        'root: site',
        'directory: visible',
        'ssi: enabled',
        'http_strict_transport_security: true',
        'http_strict_transport_security_preload: true',
        'status_codes:',
        '  404: /missing.html',
        '  401: /locked.html',
      ].join('\n'),
      'Staticfile.auth': 'bob:$apr1$DuUQEQp8$ZccZCHQElNSjrg.erwSFC0\n',
      'site/listed/one.txt': 'one',
      'site/page.html': '<!--#include virtual="/part.html" --> and whole',
      'site/part.html': 'a part',
      'site/missing.html': 'nothing of that name',
      'site/.hidden': 'hidden',
      'site/large.css': 'a { color: red }\n'.repeat(200),
    }
    const bob = '-u bob:bob localhost:$PORT'
    const { text } = await answer(
      { files },
      statuses(
        'localhost:$PORT/page.html -D headers',
        `-D headers ${bob}/page.html`,
        `${bob}/listed/`,
        `${bob}/none`,
        `${bob}/.hidden`,
        `-o /dev/null -u bob:wrong localhost:$PORT/page.html`,
        `--compressed -o /dev/null -D - ${bob}/large.css`,
      ).replace('; curl', '; tail -n +1 headers; curl'),
    )
    const shown = text.replaceAll('\r', '')
    expect(shown).toMatch(/401\n/)
    expect(shown).toMatch(/WWW-Authenticate: Basic realm="Restricted"/)
    expect(shown).toContain('a part and whole 200')
    expect(shown).toMatch(/<a href="one\.txt">one\.txt<\/a>[\s\S]* 200\n/)
    expect(shown).toContain('nothing of that name 404')
    expect(shown).not.toContain('hidden 200')
    expect(shown).toMatch(/^ 401$/m)
    expect(shown).toMatch(/Content-Encoding: gzip/)
    expect(shown).toContain('max-age=31536000; preload')
  }, 120_000)

  it('staticfile: HTTPS and HTTP/2 by variables; unknown paths lead to the index, files do not; types of its own', async () => {
    const files: Files = {
      Staticfile: 'pushstate: enabled\n',
      'index.html': 'the index',
      'page.strange': 'a page',
      'nginx/conf/mime.types': 'types { text/html html; text/x-strange strange; }\n',
    }
    const { droplet } = await staged({ files, environment: { FORCE_HTTPS: 'true', ENABLE_HTTP2: 'true' } })
    const prior = 'curl -s --http2-prior-knowledge'
    const https = `${prior} -H 'X-Forwarded-Proto: https' -w ' %{http_version} %{content_type}\\n' localhost:$PORT`
    const look = `${https}/deep/link; ${https}/page.strange; ${prior} -H 'X-Forwarded-Host: shop.example' -o /dev/null -w '%{http_code} %{redirect_url}\\n' "localhost:$PORT/a?b=1"`
    const command = serving(droplet.process_types['web'] ?? '', look, `${prior} -o /dev/null localhost:$PORT`)
    const text = await staging.bench.inDroplet(droplet.sha256, command)
    expect(text).toMatch(/^the index 2 text\/html; charset=utf-8\na page 2 text\/x-strange/)
    expect(text).toContain('301 https://shop.example/a?b=1')
  }, 120_000)

  it('staticfile: an nginx.conf of its own takes the place of ours', async () => {
    const files: Files = {
      Staticfile: '',
      'index.html': 'its own',
      'nginx/conf/nginx.conf': `error_log stderr; events {}\nhttp { server { listen <%= ENV["PORT"] %>; root <%= ENV['APP_ROOT']%>/public; add_header X-Own yes; } }\n`,
    }
    const { text, log } = await answer({ files }, 'curl -si localhost:$PORT/')
    expect(log).toContain('overriding nginx.conf is deprecated')
    expect(text).toMatch(/X-Own: yes[\s\S]*its own/)
  }, 120_000)

  it('php: a web root of another name, settings of PHP, php-fpm and the web server beside the app, what was pushed in vendor', async () => {
    const composer = { require: { 'example/word': '1.0.0', 'ext-intl': '*', php: '^8.1' }, config: { 'vendor-dir': 'vendor' } }
    const files: Files = {
      'composer.json': JSON.stringify({
        ...composer,
        repositories: [
          { type: 'path', url: 'word', options: { versions: { 'example/word': '1.0.0' } } },
          { 'packagist.org': false },
        ],
      }),
      'word/composer.json': JSON.stringify({ name: 'example/word', version: '1.0.0', autoload: { files: ['word.php'] } }),
      'word/word.php': '<?php const WORD = "library";',
      '.bp-config/options.json': JSON.stringify({ WEBDIR: 'web', PHP_VERSION: '{PHP_82_LATEST}', PHP_EXTENSIONS: ['sqlite3'] }),
      '.bp-config/php/php.ini.d/own.ini': 'memory_limit = 77M\nerror_prepend_string = "@{HOME}"\n',
      '.bp-config/php/fpm.d/own.conf': 'env[OWN] = fpm\n',
      '.bp-config/httpd/own.conf': 'Header set X-Own httpd\n',
      'web/index.php':
        '<?php require __DIR__ . "/../vendor/autoload.php"; echo WORD, " ", ini_get("memory_limit"), " ", ini_get("error_prepend_string"), " ", getenv("OWN"), " ", extension_loaded("intl") && extension_loaded("sqlite3") ? "both" : "-", " ", $_SERVER["HTTPS"] ?? "plain";',
      'web/.htaccess': 'RewriteEngine On\nRewriteRule ^pretty$ index.php [L]\n',
      'secret.php': '<?php echo "outside";',
    }
    const { text } = await answer(
      { files },
      "curl -si localhost:$PORT/; echo; curl -s -H 'X-Forwarded-Proto: https' localhost:$PORT/pretty; curl -s -o /dev/null -w '\\n%{http_code}\\n' localhost:$PORT/secret.php",
    )
    expect(text).toMatch(/X-Own: httpd/)
    expect(text).toMatch(/^library 77M \/home\/vcap\/app fpm both plain\nlibrary 77M \/home\/vcap\/app fpm both on\n404/m)
  }, 180_000)

  it('php: sessions go to a bound Redis whose name says so, by its user', async () => {
    const credentials = { host: '127.0.0.1', port: 6379, username: 'bob', password: 'a&b c' }
    const { text } = await answer(
      {
        files: {
          'htdocs/index.php': '<?php session_start(); $_SESSION["word"] = "kept"; session_write_close(); echo "done";',
          'redis.php': REDIS,
          '.bp-config/options.json': JSON.stringify({
            ADDITIONAL_PREPROCESS_CMDS: ['(php $HOME/redis.php >/dev/null 2>&1 &)'],
          }),
        },
        environment: { VCAP_SERVICES: JSON.stringify({ redis: [{ name: 'my-redis-sessions', credentials }] }) },
      },
      'for i in $(seq 100); do curl -s localhost:$PORT/ | grep done && break; sleep 0.1; done; cat /home/vcap/tmp/asked',
    )
    expect(text).toMatch(/^done\n/)
    expect(text).toContain('AUTH bob a&b c\n')
    expect(text).toMatch(/SETEX PHPREDIS_SESSION:\w+ \d+ word\|s:4:"kept";/)
  }, 120_000)

  it('nginx: modules, name servers, variables as they are or made safe, a version that is not there', async () => {
    const conf = [
      '{{module "ngx_stream_module"}}',
      'events {}',
      'http {',
      '  resolver {{nameservers}};',
      `  server { listen {{port}}; location / { return 200 '{{env "PLAIN"}} {{env "SAFE"}}\\n'; } }`,
      '}',
      'stream { server { listen 127.0.0.1:8099; return "stream"; } }',
    ].join('\n')
    const yml = 'nginx:\n  version: stable\n  plaintext_env_vars: [PLAIN]\n'
    const given = "export PLAIN='<b>' SAFE='<b>'; "
    const { text } = await answer(
      { files: { 'nginx.conf': conf, 'buildpack.yml': yml } },
      'curl -s localhost:$PORT/; curl -s --max-time 5 --http0.9 localhost:8099/',
      given,
    )
    expect(text).toMatch(/^<b> &lt;b&gt;\nstream/)
    const none = await stage({ files: { 'nginx.conf': conf, 'buildpack.yml': 'nginx:\n  version: 1.99.x\n' } })
    expect(none.row.failure?.class).toBe('BuildpackCompileFailed')
    expect(none.log).toMatch(/no version of nginx matches '1\.99\.x'\. Available: 1\.22/)
  }, 120_000)
})
