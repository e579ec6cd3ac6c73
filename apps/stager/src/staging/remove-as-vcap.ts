import { randomUUID } from 'node:crypto'
import type { ContainerEngine } from '@bloomery/containers'
import { STAGER_LABEL } from './labels.js'
import { CPU_WEIGHT } from './limits.js'

/** Without root the stager cannot remove what vcap made; vcap can. */
export async function removeAsVcap(
  parts: { readonly engine: ContainerEngine; readonly image: string; readonly nodeId: string },
  folder: string,
): Promise<void> {
  const name = `clean-${randomUUID()}`
  await parts.engine.create({
    name,
    purpose: 'staging',
    labels: { [STAGER_LABEL]: parts.nodeId },
    image: parts.image,
    command: ['sh', '-c', 'chmod -R u+rwx /tmp/left; find /tmp/left -mindepth 1 -delete'],
    environment: { PATH: '/usr/bin:/bin' },
    mounts: [{ source: folder, target: '/tmp/left', readOnly: false }],
    layers: [],
    memoryMb: 128,
    diskMb: 64,
    cpuWeight: CPU_WEIGHT,
    pidsLimit: 64,
    fileDescriptors: 1024,
    logRateLimit: 0,
  })
  try {
    await parts.engine.start(name)
    await parts.engine.wait(name)
  } finally {
    await parts.engine.remove(name)
  }
}
