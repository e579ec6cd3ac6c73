import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { ContainerEngine, ContainerSpec, OutputLine } from './engine.js'
import { isRoot, run } from './run.js'

export interface EngineUnderTest {
  /** A fresh object for the same installation and folder, as after a restart of the agent. */
  make(installationId: string, folder: string): ContainerEngine
  readonly image: string
  /** What the machine lacks for the stricter cases. */
  readonly enforcesMemory: boolean
  readonly enforcesDisk: boolean
  readonly enforcesProcesses: boolean
  /** Whether the kernel tells which processes it ended for want of memory. */
  readonly countsMemory: boolean
  /** Whether commands can be run inside running containers. */
  readonly runsInside: boolean
  /** Where the program inside could reach the file that carries its output. */
  readonly ringInside?: string
}

/** A program that answers each connection with one line: perl is on every Debian, inside and outside. */
export const ANSWERING = [
  'perl',
  '-MIO::Socket::INET',
  '-e',
  '$| = 1; $SIG{CHLD} = "IGNORE"; my $s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 50, ReuseAddr => 1) or die $!;' +
    'print "listening\\n"; while (my $c = $s->accept) { print $c "hello\\n"; close $c }',
]

export const aSpec = (image: string, spec: Partial<ContainerSpec>): ContainerSpec => ({
  name: randomUUID(),
  purpose: 'instance',
  labels: {},
  image,
  command: ['true'],
  environment: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  mounts: [],
  layers: [],
  memoryMb: 128,
  diskMb: 64,
  cpuWeight: 10,
  pidsLimit: 64,
  fileDescriptors: 1024,
  logRateLimit: -1,
  ...spec,
})

export async function eventually<T>(probe: () => Promise<T>, timeoutMs = 15_000): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    try {
      return await probe()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(50)
    }
  }
}

/** What a connection to host:port answers. */
export const dial = (host: string, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 2000 })
    let answer = ''
    socket.on('data', (part) => (answer += part.toString()))
    socket.on('timeout', () => socket.destroy(new Error('timed out')))
    socket.on('error', reject)
    socket.on('close', () => (answer === '' ? reject(new Error('no answer')) : resolve(answer)))
  })

export async function collect(engine: ContainerEngine, name: string, after?: string): Promise<OutputLine[]> {
  const lines: OutputLine[] = []
  const options = { signal: AbortSignal.timeout(20_000), ...(after === undefined ? {} : { after }) }
  for await (const line of engine.output(name, options)) lines.push(line)
  return lines
}

/** What every engine must do alike. */
export function describeEngine(title: string, under: EngineUnderTest): void {
  describe(`${title} engine`, () => {
    const installation = randomUUID()
    let folder: string
    let engine: ContainerEngine
    const begin = async (spec: Partial<ContainerSpec>) => {
      const whole = aSpec(under.image, spec)
      await engine.create(whole)
      await engine.start(whole.name)
      return whole.name
    }
    const finish = async (spec: Partial<ContainerSpec>) => {
      const name = await begin(spec)
      const status = await engine.wait(name)
      const lines = await collect(engine, name)
      return { name, status, lines, text: lines.map(({ text }) => text) }
    }

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'bloomery-engine-'))
      engine = under.make(installation, folder)
      await engine.prepare()
    })
    afterAll(async () => {
      await engine.cleanUp({ everything: true, graceSeconds: 0 })
      await engine.close()
      await rm(folder, { recursive: true, force: true })
    })

    it('runs a command, keeps its lines in order and its exit status', async () => {
      const { status, lines } = await finish({
        command: ['bash', '-c', 'echo one; echo; echo two >&2; sleep 0.1; echo three; exit 7'],
      })
      expect(status).toMatchObject({ state: 'exited', exitCode: 7, outOfMemory: false })
      expect(lines.map(({ text }) => text).sort()).toEqual(['one', 'three', 'two'])
      expect(lines.find(({ text }) => text === 'two')?.stream).toBe('ERR')
      expect(lines.at(-1)?.text).toBe('three')
      const times = lines.map(({ timestamp }) => timestamp)
      expect(new Set(times).size).toBe(3)
      expect([...times].sort()).toEqual(times)
    })

    it('gives secret files to the program alone, in memory, and takes them away with it', async () => {
      const secretFiles = [{ target: '/etc/cf-service-bindings', files: { 'db/password': 's3cret-in-memory', 'db/port': '1' } }]
      const script =
        'cd /etc/cf-service-bindings; tr a-z A-Z < db/password; echo; ls db | tr "\\n" " "; echo; touch db/x 2>/dev/null || echo read-only'
      const { name, text } = await finish({ command: ['bash', '-c', script], secretFiles })
      expect(text).toEqual(['S3CRET-IN-MEMORY', 'password port ', 'read-only'])
      const memory = `/dev/shm/bloomery-${installation}`
      expect(await run('grep', ['-rlc', 's3cret-in-memory', memory])).not.toBe('')
      expect(await run('sh', ['-c', 'grep -rls s3cret-in-memory "$1" || true', 'sh', folder])).toBe('')
      await engine.remove(name)
      expect(await run('sh', ['-c', 'grep -rls s3cret-in-memory "$1" || true', 'sh', memory])).toBe('')
    })

    it('replaces secret files under a running program, which sees the old one or the new one', async () => {
      const secretFiles = [
        { target: '/etc/cf-service-bindings', files: {} },
        { target: '/etc/cf-instance-credentials', files: {} },
      ]
      const script =
        'until [ "$(cat key)" = two ]; do [ -s key ] || echo empty; done; stat -c %a-%u key; touch x 2>/dev/null || echo read-only'
      const spec = aSpec(under.image, {
        command: ['bash', '-c', `cd /etc/cf-instance-credentials; cat key; echo; echo began >&2; ${script}`],
        secretFiles,
      })
      const update = (key: string) =>
        engine.updateSecretFiles(spec.name, { target: '/etc/cf-instance-credentials', files: { key } })
      await engine.create(spec)
      expect(await update('one')).toBe(true)
      await engine.start(spec.name)
      const texts: string[] = []
      for await (const { text } of engine.output(spec.name, { signal: AbortSignal.timeout(50_000) })) {
        texts.push(text)
        if (text === 'began') expect(await update('two')).toBe(true)
      }
      // Without root nothing can be given to vcap.
      const mode = process.getuid?.() === 0 ? '400-2000' : expect.stringMatching(/^444-/)
      expect(texts.filter((text) => text !== 'began')).toEqual(['one', mode, 'read-only'])
      await engine.remove(spec.name)
      expect(await update('three')).toBe(false)
    })

    it('is idempotent by name and finds what runs after a restart of the agent, from the last line seen', async () => {
      const spec = aSpec(under.image, {
        command: ['bash', '-c', 'echo first; read -t 2 <> <(:); echo second'],
        labels: { app: 'a' },
      })
      await engine.create(spec)
      await engine.create(spec)
      await engine.start(spec.name)
      await engine.start(spec.name)
      const reading = new AbortController()
      let cursor = ''
      for await (const line of engine.output(spec.name, { signal: reading.signal })) {
        cursor = line.cursor
        break
      }
      reading.abort()
      const other = under.make(installation, folder)
      await other.prepare()
      try {
        expect((await other.list('instance')).find(({ name }) => name === spec.name)).toMatchObject({
          labels: { app: 'a' },
          status: { state: 'running' },
        })
        expect((await collect(other, spec.name, cursor)).map(({ text }) => text)).toEqual(['second'])
        expect((await other.wait(spec.name)).exitCode).toBe(0)
        expect(await other.list('staging')).toEqual([])
      } finally {
        await other.close()
      }
      await engine.remove(spec.name)
      await engine.remove(spec.name)
      expect(await engine.find(spec.name)).toBeUndefined()
    })

    it('sees nothing of another installation', async () => {
      const name = await begin({ command: ['sleep', '30'] })
      const strangersFolder = await mkdtemp(join(tmpdir(), 'bloomery-engine-'))
      const stranger = under.make(randomUUID(), strangersFolder)
      await stranger.prepare()
      expect(await stranger.list('instance')).toEqual([])
      await stranger.cleanUp({ everything: true })
      await stranger.close()
      await rm(strangersFolder, { recursive: true, force: true })
      expect((await engine.find(name))?.status.state).toBe('running')
      await engine.remove(name)
    })

    it('gives a program time to end on SIGTERM, and kills one that will not', async () => {
      const [kind, stubborn] = await Promise.all([
        begin({ command: ['bash', '-c', 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'] }),
        begin({ command: ['bash', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'] }),
      ])
      for (const name of [kind, stubborn]) for await (const _ of engine.output(name, { signal: AbortSignal.timeout(5000) })) break
      expect(await engine.stop(kind, 10)).toEqual({ killed: false })
      expect((await engine.wait(kind)).exitCode).toBe(3)
      expect((await collect(engine, kind)).map(({ text }) => text)).toEqual(expect.arrayContaining(['ready', 'bye']))
      expect(await engine.stop(stubborn, 1)).toEqual({ killed: true })
      expect((await engine.wait(stubborn)).exitCode).toBe(137)
    })

    it('answers at the reserved address and port', async () => {
      const endpoint = await engine.reserveEndpoint([8080], [])
      const port = endpoint.ports[0]!
      const name = await begin({
        command: ANSWERING,
        endpoint,
        environment: { PATH: '/usr/bin:/bin', PORT: String(port.internal) },
      })
      expect(await eventually(() => dial(endpoint.address, port.internal))).toBe('hello\n')
      expect(await dial('127.0.0.1', port.external)).toBe('hello\n')
      const seen = await engine.find(name)
      expect(seen).toMatchObject({ address: endpoint.address, publishedPorts: { [port.internal]: port.external } })
      const next = await engine.reserveEndpoint([8080], [])
      expect(next.ports[0]?.external).not.toBe(port.external)
      await engine.remove(name)
    })

    it('is vcap without any capability, and cannot become anybody else', async () => {
      const { text } = await finish({
        command: [
          'bash',
          '-c',
          'id -u; id -g; grep -E "^(CapEff|CapPrm|CapBnd|NoNewPrivs)" /proc/self/status; chown 0 /tmp 2>/dev/null && echo chown; ' +
            'mount -t tmpfs none /tmp 2>/dev/null && echo mount; touch /usr/x 2>/dev/null && echo touch; setpriv --reuid 0 true 2>/dev/null && echo root',
        ],
      })
      expect(text.map((line) => line.replace(/\s+/g, ' '))).toEqual([
        '2000',
        '2000',
        expect.stringMatching(/^CapPrm: 0+$/),
        expect.stringMatching(/^CapEff: 0+$/),
        expect.stringMatching(/^CapBnd: /),
        'NoNewPrivs: 1',
      ])
    })

    it('shows read-only layers under a writable one, and within what else is mounted', async () => {
      const lower = join(folder, `lower-${randomUUID()}`)
      const work = join(folder, `work-${randomUUID()}`)
      await mkdir(join(lower, 'app'), { recursive: true })
      await mkdir(work)
      await writeFile(join(lower, 'app', 'file'), 'from the droplet')
      if (isRoot()) await run('chown', ['-R', '2000:2000', lower, work])
      const { text, status } = await finish({
        mounts: [{ source: work, target: '/tmp', readOnly: false }],
        layers: [
          { lower: [lower], target: '/home/vcap' },
          { lower: [lower], target: '/tmp/deep/within' },
        ],
        workingDirectory: '/home/vcap/app',
        command: [
          'bash',
          '-c',
          'cat file; echo; echo changed > file; cat file; rm file; ls; pwd; echo x > /tmp/y; echo z > /var/tmp/y; cat /tmp/deep/within/app/file',
        ],
      })
      expect(text).toEqual(['from the droplet', 'changed', '/home/vcap/app', 'from the droplet'])
      expect(status.exitCode).toBe(0)
      expect(await readFile(join(lower, 'app', 'file'), 'utf8')).toBe('from the droplet')
    })

    it('lets one second of output pass, says so once, and drops the rest of the second', async () => {
      const { text } = await finish({
        logRateLimit: 1024,
        command: ['bash', '-c', 'for i in {1..200}; do echo 1234567890123456789012345678901; done; sleep 1.3; echo after'],
      })
      expect(text.at(-1)).toBe('after')
      expect(text.filter((line) => line === 'app instance exceeded log rate limit (1024 bytes/sec)')).toHaveLength(1)
      expect(text.filter((line) => line.startsWith('123')).length).toBeGreaterThanOrEqual(33)
      expect(text.filter((line) => line.startsWith('123')).length).toBeLessThan(40)
      expect((await finish({ logRateLimit: 0, command: ['echo', 'x'] })).lines).toEqual([])
    })

    it('keeps a burst of megabytes whole when output is unlimited, and cuts long lines', async () => {
      const { text, status } = await finish({
        command: [
          'bash',
          '-c',
          'for i in {1..50000}; do echo "line $i with some words to fill it up to eighty characters or nearly so"; done',
        ],
      })
      expect(status.exitCode).toBe(0)
      expect(text).toHaveLength(50_000)
      expect(text.at(-1)).toContain('line 50000 ')
      const long = await finish({ command: ['bash', '-c', 'head -c 100000 /dev/zero | tr "\\0" x; echo; echo end'] })
      expect(long.text.map(({ length }) => length)).toEqual([61_440, 38_560, 3])
    })

    it('hands on no more than the limit of a program that prints as fast as it can', async () => {
      const name = await begin({ command: ['yes'], logRateLimit: 1024 * 1024 })
      const stop = AbortSignal.timeout(4000)
      let lines = 0
      for await (const _ of engine.output(name, { signal: stop })) lines++
      await engine.remove(name)
      // 1 MiB a second, and a second's worth at once, of lines of two bytes; what it costs is bench/chatty's matter.
      expect(lines).toBeGreaterThan(10_000)
      expect(lines).toBeLessThan(6 * 512 * 1024)
    })

    const memory = under.enforcesMemory ? it : it.skip
    memory('ends a program that takes more memory than it may, and says why', async () => {
      const neighbour = await begin({ command: ['sleep', '60'] })
      const { status } = await finish({ memoryMb: 64, command: ['perl', '-e', 'my @a; while (1) { push @a, "x" x 1_000_000 }'] })
      expect(status).toMatchObject({ exitCode: 137, outOfMemory: true })
      expect((await engine.find(neighbour))?.status.state).toBe('running')
      await engine.remove(neighbour)
    })

    const grouped = under.countsMemory ? it : it.skip
    grouped('tells of it too when only a child was ended and the program gave up over that, as `npm start` does', async () => {
      const eating = 'perl -e \'my @a; while (1) { push @a, "x" x 1_000_000 }\''
      const { status } = await finish({ memoryMb: 64, command: ['bash', '-c', `${eating}; exit 1`] })
      expect(status).toMatchObject({ exitCode: 1, outOfMemory: true })
      const survived = await finish({ memoryMb: 64, command: ['bash', '-c', `${eating}; exit 0`] })
      expect(survived.status).toMatchObject({ exitCode: 0, outOfMemory: false })
    })

    it('gives each its own temporary folders, names and processes, and nothing of the machine', async () => {
      const name = await begin({ command: ['bash', '-c', 'echo secret > /tmp/mine; exec sleep 60'] })
      const { text } = await finish({
        environment: { PATH: '/usr/bin:/bin', ONLY: 'mine' },
        command: [
          'bash',
          '-c',
          'ls /tmp; ls /proc | grep -c "^[0-9]"; ls -A /root /var/lib/docker /run/docker.sock /var/run/docker.sock 2>/dev/null; ' +
            'cat /etc/shadow 2>/dev/null; env | grep -c -i bloomery; ulimit -n; ulimit -c; id -un; echo end',
        ],
      })
      const [processes, ours, ...rest] = text
      expect(Number(processes)).toBeLessThan(12)
      expect([ours, ...rest]).toEqual(['0', '1024', '0', 'vcap', 'end'])
      await engine.remove(name)
    })

    it('reads little of a program that goes round the meter and floods the ring by itself', async () => {
      const flood =
        'open(my $f, "+<", $ARGV[0]) or exit 3; my $head = 0; my $lines = "1 O x\\n" x 20000; ' +
        'while (1) { $head += 1 << 22; seek($f, 4096, 0); print $f $lines; seek($f, 16, 0); print $f pack("Q<", $head); $f->flush }'
      const ring = under.ringInside
      if (ring === undefined) return
      const name = await begin({ command: ['perl', '-MIO::Handle', '-e', flood, ring], logRateLimit: 1024 })
      const stop = AbortSignal.timeout(5000)
      let lines = 0
      for await (const _ of engine.output(name, { signal: stop })) lines++
      expect(lines).toBeLessThan(400_000)
      expect((await engine.find(name))?.status.state).toBe('running')
      await engine.remove(name)
    })

    const disk = under.enforcesDisk ? it : it.skip
    disk('fails writes beyond the disk limit wherever they go, and those alone', async () => {
      const { text } = await finish({
        diskMb: 32,
        command: [
          'bash',
          '-c',
          'for d in /home/vcap /var/tmp /tmp; do head -c 64M /dev/zero > $d/big 2>/dev/null && echo wrote; stat -c %s $d/big; done; echo alive',
        ],
      })
      expect(text).not.toContain('wrote')
      expect(text.at(-1)).toBe('alive')
      const sizes = text.slice(0, -1).map(Number)
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(40 * 1024 * 1024)
      expect(sizes[0]).toBeGreaterThan(28 * 1024 * 1024)
    })

    const processes = under.enforcesProcesses ? it : it.skip
    processes('stops a fork bomb at the limit of processes', async () => {
      const bomb = await begin({ pidsLimit: 40, command: ['bash', '-c', 'f() { f | f & }; f 2>/dev/null; sleep 60'] })
      await delay(300)
      const { text } = await finish({ command: ['echo', 'the neighbour starts'] })
      expect(text).toEqual(['the neighbour starts'])
      // Up to the limit it is nobody's business.
      const many = 'for i in {1..30}; do sleep 3 & done; jobs -p | wc -l'
      expect((await finish({ pidsLimit: 40, command: ['bash', '-c', many] })).text).toEqual(['30'])
      await engine.remove(bomb)
    })

    it('measures, runs commands inside and reads files out', async () => {
      const name = await begin({ command: ['bash', '-c', 'head -c 5M /dev/zero > /tmp/five; while :; do :; done'] })
      const first = await eventually(async () => {
        const usage = (await engine.usage([name, 'no-such-container'])).get(name)
        if (usage === undefined || usage.diskBytes < 5_000_000) throw new Error('not there yet')
        return usage
      })
      const second = await eventually(async () => {
        const usage = (await engine.usage([name])).get(name)!
        if (usage.cpuNanoseconds <= first.cpuNanoseconds) throw new Error('no time has passed')
        return usage
      })
      expect(second.memoryBytes).toBeGreaterThan(100_000)
      const inside = engine.exec(name, ['bash', '-c', 'echo out; echo err >&2; id -u; exit 4'])
      if (under.runsInside) expect(await inside).toEqual({ exitCode: 4, output: expect.stringMatching(/out[^]*2000/) as unknown })
      else await expect(inside).rejects.toMatchObject({ kind: 'refused' })
      const parts: Buffer[] = []
      for await (const part of await engine.readTar(name, '/tmp/five')) parts.push(part as Buffer)
      expect(Buffer.concat(parts).length).toBeGreaterThan(5_000_000)
      await engine.remove(name)
    })

    it('tells of an end soon', async () => {
      const name = await begin({ command: ['sleep', '0.5'] })
      const told = new Promise<void>((resolve) => {
        const off = engine.onChange(() => {
          void engine.find(name).then((seen) => {
            if (seen?.status.state !== 'exited') return
            off()
            resolve()
          })
        })
      })
      await told
    })
  })
}
