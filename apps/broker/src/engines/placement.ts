import type { ServerSpec } from '../servers/server-host.js'
import type { Instance } from './engine.js'
import { shortName } from './names.js'

/** What all instances of shared plans have together. */
export interface SharedServer {
  readonly memoryMb: number
  readonly diskMb: number
}

/** Its name, the same for ever. */
export const sharedServerName = (kind: string): string => `${kind}-shared`

/** The server that an instance's plan puts it on. */
export function serverOf(kind: string, instance: Pick<Instance, 'guid' | 'plan'>, shared: SharedServer): ServerSpec {
  const { plan, guid } = instance
  if (plan.style === 'shared') return { name: sharedServerName(kind), kind, ...shared }
  return { name: `${kind}-${shortName('s', guid)}`, kind, memoryMb: plan.memoryMb, diskMb: plan.diskMb }
}
