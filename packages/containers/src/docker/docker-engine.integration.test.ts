import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import { ANSWERING, aSpec, collect, describeEngine, dial, eventually } from '../engine-cases.fixture.js'
import { isRoot } from '../run.js'
import { DockerEngine } from './docker-engine.js'
import { SUPERVISOR } from './create-options.js'

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

const makeEngine = (installationId: string, folder: string, platform?: { bind: string; ports: number[]; hosts: string[] }) =>
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
  describeEngine('docker', { make: makeEngine, image, enforcesMemory: true, enforcesDisk: isRoot(), enforcesProcesses: true })

  const asRoot = isRoot() ? describe : describe.skip
  asRoot('what a container can reach', () => {
    const installation = randomUUID()
    const secret = createServer((socket) => socket.end('private\n'))
    const open = createServer((socket) => socket.end('public\n'))
    let folder: string
    let engine: DockerEngine
    let privatePort = 0
    let publicPort = 0
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
      engine = makeEngine(installation, folder, { bind: '127.0.0.1', ports: [publicPort], hosts: ['api.bloomery.localhost'] })
      await engine.prepare()
    })
    afterAll(async () => {
      await engine.cleanUp({ everything: true, graceSeconds: 0 })
      await engine.close()
      await rm(folder, { recursive: true, force: true })
      secret.close()
      open.close()
    })

    it('reaches the public ports by the platform names, but no private listener, metadata address or other app', async () => {
      expect(engine.confinement()).toMatchObject({ disk: 'limited', network: 'filtered', remarks: [] })
      const endpoint = await engine.reserveEndpoint([8080], [])
      const other = randomUUID()
      const environment = { PATH: '/usr/bin:/bin', PORT: '8080' }
      await engine.create(aSpec(image, { name: other, command: ANSWERING, endpoint, environment }))
      await engine.start(other)
      expect(await eventually(() => dial(endpoint.address, 8080))).toBe('hello\n')
      const gateway = endpoint.address.replace(/\.\d+\.\d+$/, '')
      const own = Object.values(networkInterfaces())
        .flat()
        .flatMap((entry) =>
          entry?.family === 'IPv4' && !entry.internal && !entry.address.startsWith(gateway) ? [entry.address] : [],
        )
      expect(await dial('127.0.0.1', privatePort)).toBe('private\n')
      const answers = await from([
        `api.bloomery.localhost/${publicPort}`,
        `api.bloomery.localhost/${privatePort}`,
        ...own.map((address) => `${address}/${privatePort}`),
        `${endpoint.address}/8080`,
        `api.bloomery.localhost/${endpoint.ports[0]!.external}`,
        ...own.map((address) => `${address}/${endpoint.ports[0]!.external}`),
        '169.254.169.254/80',
      ])
      expect(answers).toEqual(['public', ...answers.slice(1).map(() => 'refused')])
      // Said again, the rules are the same, and no second time in the chains.
      await engine.prepare()
      const rules = execFileSync('iptables', ['-S', 'INPUT'], { encoding: 'utf8' })
      expect(rules.split('\n').filter((line) => line.includes(installation))).toHaveLength(1)
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
