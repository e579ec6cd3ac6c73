import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import { ANSWERING, aSpec, collect, describeEngine, dial, eventually } from '../engine-cases.fixture.js'
import { isRoot } from '../run.js'
import { DockerEngine } from './docker-engine.js'
import type { PublicPorts } from './firewall.js'
import { SUPERVISOR } from './create-options.js'
import { toAddress, toNumber } from './subnet.js'

const image = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'
const found = findEngine()

function findEngine(): { supervisorPath?: string } | undefined {
  try {
    execFileSync('docker', ['image', 'inspect', image], { stdio: 'ignore' })
  } catch {
    console.warn(`No container engine with the image ${image} answers: the docker engine is NOT tested here.`)
    return undefined
  }
  try {
    execFileSync('docker', ['run', '--rm', '--network', 'none', '--entrypoint', 'test', image, '-x', SUPERVISOR], {
      stdio: 'ignore',
    })
    return {}
  } catch {
    // An image from before the supervisor was part of it.
    const path = join(tmpdir(), 'bloomery-supervise')
    const source = join(process.cwd(), 'stacks/supervisor/supervise.c')
    if (!existsSync(path)) execFileSync('cc', ['-O2', '-static', '-o', path, source])
    return { supervisorPath: path }
  }
}

const makeEngine = (installationId: string, folder: string, platform?: PublicPorts & { hosts: string[] }) =>
  new DockerEngine({
    installationId,
    folder,
    image,
    logger: silentLogger,
    ...found,
    ...(platform === undefined ? {} : { platform }),
  })

if (found === undefined) {
  it.skip('docker engine: no engine or no stack image on this machine', () => undefined)
} else {
  describeEngine('docker', {
    make: makeEngine,
    image,
    enforcesMemory: true,
    enforcesDisk: isRoot(),
    enforcesProcesses: true,
    countsMemory: true,
    runsInside: true,
    ringInside: '/run/bloomery/output',
  })

  const asRoot = isRoot() ? describe : describe.skip
  asRoot('what a container can reach', () => {
    const installation = randomUUID()
    const secret = createServer((socket) => socket.end('private\n'))
    const open = createServer((socket) => socket.end('public\n'))
    let folder: string
    let engine: DockerEngine
    const strangers: string[] = []
    const ownAddress = () =>
      Object.values(networkInterfaces())
        .flat()
        .find((entry) => entry?.family === 'IPv4' && !entry.internal)?.address ?? '127.0.0.1'
    const gatewayOf = (address: string) => toAddress(Math.floor(toNumber(address) / 4096) * 4096 + 1)
    let privatePort = 0
    let publicPort = 0
    const database = createServer((socket) => socket.end('tcp route\n'))
    let tcpPort = 0
    const listen = (server: ReturnType<typeof createServer>, host: string) =>
      new Promise<number>((resolve) => server.listen(0, host, () => resolve((server.address() as { port: number }).port)))
    /** What bash gets from host:port inside a container. */
    const from = async (targets: readonly string[]) => {
      const name = randomUUID()
      const script = targets
        .map((t) => `timeout 3 bash -c 'exec 3<>/dev/tcp/${t} && head -n1 <&3' 2>/dev/null || echo refused`)
        .join('; ')
      await engine.create(aSpec(image, { name, command: ['bash', '-c', script] }))
      await engine.start(name)
      await engine.wait(name)
      return (await collect(engine, name)).map(({ text }) => text)
    }

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'bloomery-engine-'))
      privatePort = await listen(secret, '0.0.0.0')
      publicPort = await listen(open, '127.0.0.1')
      tcpPort = await listen(database, '127.0.0.1')
      engine = makeEngine(installation, folder, {
        bind: '127.0.0.1',
        ports: [publicPort],
        tcp: { bind: '127.0.0.1', ranges: [{ first: tcpPort, last: tcpPort }] },
        hosts: ['api.bloomery.localhost'],
      })
      await engine.prepare()
    })
    afterAll(async () => {
      if (strangers.length > 0) execFileSync('docker', ['rm', '-f', ...strangers], { stdio: 'ignore' })
      await engine.cleanUp({ everything: true, graceSeconds: 0 })
      await engine.close()
      await rm(folder, { recursive: true, force: true })
      secret.close()
      open.close()
      database.close()
    })

    it('reaches the public ports by the platform names, but no private listener, metadata address or other app', async () => {
      expect(engine.confinement()).toMatchObject({ disk: 'limited', network: 'filtered', remarks: [] })
      const endpoint = await engine.reserveEndpoint([8080], [])
      const other = randomUUID()
      const environment = { PATH: '/usr/bin:/bin', PORT: '8080' }
      await engine.create(aSpec(image, { name: other, command: ANSWERING, endpoint, environment }))
      await engine.start(other)
      expect(await eventually(() => dial(endpoint.address, 8080))).toBe('hello\n')
      // A container of somebody else on the same machine, such as a database that is published for the machine alone.
      const run = ['run', '-d', '--label', `bloomery.test=${installation}`, '-e', 'PORT=8080', '-p', `${ownAddress()}::8080`]
      strangers.push(execFileSync('docker', [...run, image, ...ANSWERING], { encoding: 'utf8' }).trim())
      const stranger = execFileSync('docker', ['inspect', '-f', '{{.NetworkSettings.IPAddress}}', strangers[0]!], {
        encoding: 'utf8',
      }).trim()
      expect(await eventually(() => dial(stranger, 8080))).toBe('hello\n')
      const published = execFileSync('docker', ['port', strangers[0]!, '8080'], { encoding: 'utf8' }).trim().replace(':', '/')
      const gateway = endpoint.address.replace(/\.\d+\.\d+$/, '')
      const own = Object.values(networkInterfaces())
        .flat()
        .flatMap((entry) =>
          entry?.family === 'IPv4' && !entry.internal && !entry.address.startsWith(gateway) ? [entry.address] : [],
        )
      expect(await dial('127.0.0.1', privatePort)).toBe('private\n')
      const answers = await from([
        `api.bloomery.localhost/${publicPort}`,
        `api.bloomery.localhost/${tcpPort}`,
        `api.bloomery.localhost/${privatePort}`,
        ...own.map((address) => `${address}/${privatePort}`),
        `${endpoint.address}/8080`,
        `api.bloomery.localhost/${endpoint.ports[0]!.external}`,
        ...own.map((address) => `${address}/${endpoint.ports[0]!.external}`),
        '169.254.169.254/80',
        `${stranger}/8080`,
        published,
        '172.17.0.1/22',
        `${gatewayOf(endpoint.address)}/2375`,
      ])
      expect(answers).toEqual(['public', 'tcp route', ...answers.slice(2).map(() => 'refused')])
      // Said again, the rules are the same, and no second time in the chains.
      await engine.prepare()
      const rules = execFileSync('iptables', ['-S', 'INPUT'], { encoding: 'utf8' })
      expect(rules.split('\n').filter((line) => line.includes(installation))).toHaveLength(1)
    })

    it('has no address but its own, and hears nobody by datagram or IPv6', async () => {
      const listener = createSocket('udp4')
      const heard: string[] = []
      listener.on('message', (message) => heard.push(message.toString()))
      await new Promise<void>((resolve) => listener.bind(0, '0.0.0.0', resolve))
      const { port } = listener.address()
      const endpoint = await engine.reserveEndpoint([8080], [])
      const name = randomUUID()
      const script =
        `for h in ${gatewayOf(endpoint.address)} ${ownAddress()}; do echo knock > /dev/udp/$h/${port}; done; ` +
        'wc -l < /proc/net/if_inet6; ping -c1 -W1 127.0.0.1 > /dev/null 2>&1 && echo raw; echo end'
      await engine.create(aSpec(image, { name, command: ['bash', '-c', script], endpoint }))
      await engine.start(name)
      await engine.wait(name)
      const lines = (await collect(engine, name)).map(({ text }) => text)
      listener.close()
      expect(heard).toEqual([])
      expect(lines.filter((line) => /^\d+$/.test(line))).toEqual(['0'])
      expect(lines.at(-1)).toBe('end')
    })

    it('has the limits that it was given', async () => {
      const name = randomUUID()
      await engine.create(
        aSpec(image, { name, command: ['sleep', '60'], memoryMb: 96, cpuWeight: 25, pidsLimit: 77, fileDescriptors: 2048 }),
      )
      await engine.start(name)
      const read = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; '
      const pids = 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; '
      const shares = 'cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || echo none'
      const { output } = await engine.exec(name, ['bash', '-c', read + pids + shares])
      const lines = output.trim().split('\n')
      expect(lines.slice(0, 2)).toEqual([String(96 * 1024 * 1024), '77'])
      if (lines[2] !== 'none') expect(lines[2]).toBe('2050')
      const { HostConfig } = JSON.parse(
        execFileSync('docker', ['inspect', '-f', '{{json .}}', `bloomery-${installation.slice(0, 8)}-${name}`], {
          encoding: 'utf8',
        }),
      ) as { HostConfig: Record<string, unknown> }
      expect(HostConfig).toMatchObject({
        Privileged: false,
        CapDrop: ['ALL'],
        CapAdd: null,
        SecurityOpt: ['no-new-privileges:true'],
        ReadonlyRootfs: true,
        MemorySwap: 96 * 1024 * 1024,
        NetworkMode: `bloomery-${installation.slice(0, 8)}`,
        PidMode: '',
        IpcMode: 'private',
        UsernsMode: '',
      })
      await engine.remove(name)
    })

    it('lets builds have what nothing else wants of the processors, and apps their share', async () => {
      const groupOf = async (purpose: 'instance' | 'staging') => {
        const name = randomUUID()
        await engine.create(aSpec(image, { name, purpose, command: ['sleep', '60'] }))
        await engine.start(name)
        const format = '{{.State.Pid}} {{.HostConfig.CgroupParent}}'
        const container = `bloomery-${installation.slice(0, 8)}-${name}`
        const inspected = execFileSync('docker', ['inspect', '-f', format, container], { encoding: 'utf8' })
        const [pid = '', parent = ''] = inspected.trim().split(' ')
        const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8')
        await engine.remove(name)
        return { parent, groups }
      }
      const root = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu'
      const build = await groupOf('staging')
      const app = await groupOf('instance')
      expect(app.parent).toBe('')
      expect(app.groups).not.toContain('bloomery_staging')
      const idle = await readFile(join(root, build.parent, 'cpu.idle'), 'utf8').catch(() => undefined)
      if (idle === undefined) {
        // Before Linux 5.15, or where these groups are not the engine's.
        console.warn('no control group of builds can be made here: that they give way is NOT tested')
        expect(build.parent).toBe('')
        return
      }
      expect(idle.trim()).toBe('1')
      expect(build.groups).toContain('/bloomery_staging')
    })

    it('leaves nothing behind', async () => {
      const name = randomUUID()
      await engine.create(aSpec(image, { name, command: ['true'], layers: [{ lower: ['/usr/share'], target: '/home/vcap' }] }))
      await engine.start(name)
      await engine.wait(name)
      await engine.cleanUp({ everything: true, graceSeconds: 0 })
      const label = `label=bloomery.installation=${installation}`
      for (const args of [
        ['ps', '-aq'],
        ['volume', 'ls', '-q'],
        ['network', 'ls', '-q'],
      ])
        expect(execFileSync('docker', [...args, '--filter', label], { encoding: 'utf8' })).toBe('')
      expect(await readFile('/proc/self/mounts', 'utf8')).not.toContain(folder)
      expect(execFileSync('iptables-save', { encoding: 'utf8' })).not.toContain(installation)
      await engine.prepare()
    })
  })
}
