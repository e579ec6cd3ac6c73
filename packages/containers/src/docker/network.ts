import type Docker from 'dockerode'
import { EngineError } from '../engine.js'
import { asEngineError, isNotFound } from './errors.js'
import { INSTALLATION_LABEL, type Names } from './names.js'
import { parseSubnet, type Subnet, subnetCandidates } from './subnet.js'

/** The installation's own bridge, with traffic between its containers off; found or made. */
export async function ensureNetwork(docker: Docker, names: Names): Promise<Subnet> {
  const found = await findNetwork(docker, names)
  if (found !== undefined) return found
  let last: unknown
  for (const subnet of subnetCandidates(names.installation)) {
    try {
      await docker.createNetwork({
        Name: names.network,
        Driver: 'bridge',
        CheckDuplicate: true,
        Labels: { [INSTALLATION_LABEL]: names.installation },
        Options: { 'com.docker.network.bridge.name': names.bridge, 'com.docker.network.bridge.enable_icc': 'false' },
        IPAM: { Driver: 'default', Config: [{ Subnet: subnet.cidr, Gateway: subnet.gateway, IPRange: subnet.engineRange }] },
      })
      return subnet
    } catch (error) {
      // Another role of this installation may have been faster.
      const other = await findNetwork(docker, names)
      if (other !== undefined) return other
      if (!/overlap/i.test(error instanceof Error ? error.message : ''))
        throw asEngineError(error, `make the network ${names.network}`)
      last = error
    }
  }
  throw new EngineError(
    'refused',
    'No free address range for the containers of this installation between 10.128.0.0 and 10.191.255.255',
    {
      cause: last,
    },
  )
}

async function findNetwork(docker: Docker, names: Names): Promise<Subnet | undefined> {
  try {
    const network = await docker.getNetwork(names.network).inspect()
    if (network.Labels?.[INSTALLATION_LABEL] !== names.installation)
      throw new EngineError(
        'refused',
        `The network ${names.network} belongs to somebody else; remove it or use another installation id`,
      )
    const cidr = network.IPAM?.Config?.[0]?.Subnet
    return cidr === undefined ? undefined : parseSubnet(cidr)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw asEngineError(error, `look at the network ${names.network}`)
  }
}
