import { execFile, execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { silentLogger } from '@bloomery/telemetry'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { isRoot } from '../run.js'
import { DockerEngine } from './docker-engine.js'
import { namesOf } from './names.js'
import { containersToMachine } from './service-network.js'

const image = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'

function usable(): boolean {
  try {
    execFileSync('docker', ['image', 'inspect', image], { stdio: 'ignore' })
    return isRoot()
  } catch {
    return false
  }
}
if (!usable()) console.warn('No container engine, or no root: the way from containers to service servers is NOT tested here.')
const describeIfUsable = usable() ? describe : describe.skip

describeIfUsable('the way from containers to servers of the machine', () => {
  const installationId = randomUUID()
  const servers: Server[] = []
  let folder: string
  let engine: DockerEngine
  let gateway: string
  let ports: [open: number, other: number]
  let open: (ports: readonly number[]) => Promise<void>
  const listen = (host: string) =>
    new Promise<number>((resolve) => {
      const server = createServer((socket) => socket.end('data\n'))
      servers.push(server)
      server.listen(0, host, () => resolve((server.address() as { port: number }).port))
    })
  /** What a container of this network gets from each port of the gateway. */
  const inside = async (network: string, ...wanted: number[]): Promise<string[]> => {
    const script = wanted.map(
      (port) => `timeout 3 bash -c 'exec 3<>/dev/tcp/${gateway}/${port} && head -n1 <&3' 2>/dev/null || echo refused`,
    )
    const args = [
      'run',
      '--rm',
      '--network',
      network,
      '--label',
      `bloomery.test=${installationId}`,
      '--entrypoint',
      'bash',
      image,
    ]
    const { stdout } = await promisify(execFile)('docker', [...args, '-c', script.join('; ')])
    return stdout.trim().split('\n')
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bloomery-services-'))
    engine = new DockerEngine({ installationId, folder, image, logger: silentLogger })
    ;({ gateway, open } = await containersToMachine({ installationId }))
    ports = [await listen(gateway), await listen(gateway)]
  }, 30_000)
  afterAll(async () => {
    for (const server of servers) server.close()
    await engine.cleanUp({ everything: true, graceSeconds: 0 })
    await engine.close()
    await rm(folder, { recursive: true, force: true })
  }, 30_000)

  it('is open for exactly the ports that are named, for this network alone, and stays so when the firewall is set anew', async () => {
    const { network } = namesOf(installationId)
    await engine.prepare()
    expect(await inside(network, ...ports)).toEqual(['refused', 'refused'])
    await open([ports[0]])
    expect(await inside(network, ...ports)).toEqual(['data', 'refused'])
    expect((await inside('bridge', ...ports))[0]).toBe('refused')
    // As a cell or a stager that starts does.
    await engine.prepare()
    expect(await inside(network, ...ports)).toEqual(['data', 'refused'])
    await open([ports[1]])
    expect(await inside(network, ...ports)).toEqual(['refused', 'data'])
    await open([])
    expect(await inside(network, ...ports)).toEqual(['refused', 'refused'])
    await open([ports[0]])
    await engine.cleanUp({ everything: true, graceSeconds: 0 })
    expect(execFileSync('iptables-save', { encoding: 'utf8' })).not.toContain(installationId)
    await engine.prepare()
  }, 90_000)
})
