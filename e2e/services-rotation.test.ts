import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openDriver, type Driver } from './drivers.js'
import { folder, TINY } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'

/** Writes to Redis with the credentials of VCAP_SERVICES for each request, on a connection of its own, and says whose they are. */
const WRITER = {
  Procfile: 'web: exec python3 server.py\n',
  'server.py': `import json, os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

[service] = json.loads(os.environ['VCAP_SERVICES'])['redis']
given = service['credentials']

def command(stream, *words):
    stream.write(b'*%d\\r\\n' % len(words) + b''.join(b'$%d\\r\\n%s\\r\\n' % (len(word), word) for word in map(str.encode, words)))
    stream.flush()
    answer = stream.readline().decode().strip()
    if answer.startswith('-'):
        raise Exception(answer)
    return answer

def count():
    with socket.create_connection((given['host'], int(given['port'])), timeout=5) as connection:
        stream = connection.makefile('rwb')
        command(stream, 'AUTH', *([given['username']] if given.get('username') else []), given['password'])
        return command(stream, 'INCR', 'requests')

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        try:
            status, answer = 200, service['binding_guid'] + ' ' + count()
        except Exception as error:
            status, answer = 500, str(error)
        self.send_response(status)
        self.send_header('Content-Length', str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

Server(('', int(os.environ['PORT'])), Handler).serve_forever()
`,
}
const HOST = 'writer.apps.localhost'

describe('rotation of credentials', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker', env: { BLOOMERY_SAMPLE: 'no' } })
    driver = await openDriver('bloom', platform)
    await eventually(
      'the broker is registered',
      120,
      () => driver.run(['marketplace']),
      ({ stdout }) => /^redis\b/m.test(stdout),
    )
  }, 360_000)
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  }, 120_000)

  it('with a second binding, a rolling restart and the end of the first fails no request', async () => {
    await driver.ok(['create-service', 'redis', 'small', 'counter'])
    await driver.ok(['push', 'writer', '-p', folder(WRITER), ...TINY, '-i', '2', '--no-start'])
    await driver.ok(['bind-service', 'writer', 'counter'])
    await driver.ok(['start', 'writer'])
    const answer = () => platform.request(HOST)
    const { body } = await eventually('the app counts', 60, answer, ({ status }) => status === 200)
    const [first = ''] = body.split(' ')

    const loads = [startLoad(platform.httpPort, HOST), startLoad(platform.httpPort, HOST, { connections: 2, keepAlive: true })]
    await driver.ok(['bind-service', 'writer', 'counter', '--strategy', 'multiple'])
    await driver.ok(['restart', 'writer', '--strategy', 'rolling'])
    await eventually(
      'every instance has the new credentials',
      60,
      () => Promise.all(Array.from({ length: 8 }, answer)),
      (answers) => answers.every(({ body: text }) => /^[0-9a-f-]{36} :\d+$/.test(text) && !text.startsWith(first)),
    )
    await driver.ok(['cleanup-outdated-service-bindings', 'writer', '--force'])
    await new Promise((wait) => setTimeout(wait, 1_000))
    const results = await Promise.all(loads.map((load) => load.stop()))
    expect(results.flatMap(({ failures }) => failures)).toEqual([])
    expect(results.reduce((sum, { requests }) => sum + requests, 0)).toBeGreaterThan(100)

    // What the platform keeps on disk and says in its logs holds no credential.
    const env = await driver.ok(['env', 'writer'])
    const password = /"password": "([^"]{8,})"/.exec(env.stdout)?.[1] ?? ''
    expect(password).not.toBe('')
    const folders = ['log', 'logs', 'cell', 'router', 'run', 'stager'].map((name) => join(platform.home, name)).filter(existsSync)
    expect(folders.length).toBeGreaterThan(2)
    expect(spawnSync('grep', ['-rlaF', '--', password, ...folders], { encoding: 'utf8' }).stdout).toBe('')

    const { stdout } = await driver.ok(['service', 'counter'])
    expect(stdout).toContain('writer')
    expect(stdout).not.toContain(first)
  }, 300_000)
})
