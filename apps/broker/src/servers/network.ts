import type { ServiceNetwork } from './local-server-host.js'

/** The rules may be lost with a restart of the machine's firewall: they are said again after this. */
const SAY_AGAIN_MS = 15_000

/** Where servers listen: instances share the machine's network, or the operator has named an address that they reach. */
export const fixedAddress = (address: string): ServiceNetwork => ({
  address: () => Promise.resolve(address),
  open: () => Promise.resolve(),
})

/** Containers reach the machine at the gateway of their network, and there only what is opened to them. */
export function gatewayOfContainers(installationId: string, dockerHost: string | undefined): ServiceNetwork {
  let found: Promise<{ readonly gateway: string; open(ports: readonly number[]): Promise<void> }> | undefined
  let said = { ports: '', at: 0 }
  const network = async () => {
    // Loaded when the first server is made: a platform without service instances does without.
    found ??= import('@bloomery/containers/service-network').then(({ containersToMachine }) =>
      containersToMachine({ installationId, host: dockerHost }),
    )
    try {
      return await found
    } catch (error) {
      found = undefined
      throw error
    }
  }
  return {
    address: async () => (await network()).gateway,
    open: async (ports) => {
      const wanted = [...ports].sort((a, b) => a - b).join(',')
      if (wanted === said.ports && Date.now() - said.at < SAY_AGAIN_MS) return
      await (await network()).open(ports)
      said = { ports: wanted, at: Date.now() }
    },
  }
}
