import { createHash } from 'node:crypto'

/** Everything on the engine carries this label with the installation's id, and no list goes without it. */
export const INSTALLATION_LABEL = 'bloomery.installation'
export const PURPOSE_LABEL = 'bloomery.purpose'
export const NAME_LABEL = 'bloomery.name'
/** The container's disk on the machine, so that a clean-up by any role finds it. */
export const DISK_LABEL = 'bloomery.disk'
/** Container port → published port, as JSON: the engine forgets it when the container ends. */
export const PORTS_LABEL = 'bloomery.ports'
export const ADDRESS_LABEL = 'bloomery.address'

export interface Names {
  readonly installation: string
  /** Eight characters that stand for the installation in names of limited length. */
  readonly short: string
  readonly network: string
  readonly bridge: string
  readonly chainPrefix: string
  container(name: string): string
  volume(name: string, index: number): string
}

export function namesOf(installation: string): Names {
  const plain = installation.toLowerCase().replace(/[^a-z0-9]/g, '')
  const short = plain.length >= 8 ? plain.slice(0, 8) : createHash('sha256').update(installation).digest('hex').slice(0, 8)
  return {
    installation,
    short,
    network: `bloomery-${short}`,
    bridge: `blm-${short}`,
    chainPrefix: `BLM-${short}`,
    container: (name) => `bloomery-${short}-${name}`,
    volume: (name, index) => `bloomery-${short}-${name}-${index}`,
  }
}
