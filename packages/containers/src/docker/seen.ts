import type Docker from 'dockerode'
import type { ContainerPurpose, ContainerStatus, SeenContainer } from '../engine.js'
import { ADDRESS_LABEL, NAME_LABEL, PORTS_LABEL, PURPOSE_LABEL } from './names.js'

/** The engine's view of a container in our words. */
export function seenFromInspect(info: Docker.ContainerInspectInfo): SeenContainer {
  const labels = info.Config.Labels
  const network = Object.values(info.NetworkSettings.Networks)[0]
  const address = network?.IPAddress === undefined || network.IPAddress === '' ? labels[ADDRESS_LABEL] : network.IPAddress
  return {
    name: labels[NAME_LABEL] ?? info.Name,
    purpose: (labels[PURPOSE_LABEL] ?? 'instance') as ContainerPurpose,
    labels,
    status: statusOf(info.State),
    ...(address === undefined ? {} : { address }),
    publishedPorts: JSON.parse(labels[PORTS_LABEL] ?? '{}') as Record<number, number>,
  }
}

/** What a container holds of addresses and ports, known from a list alone. */
export function endpointFromList({
  Labels,
  NetworkSettings,
}: Docker.ContainerInfo): Pick<SeenContainer, 'address' | 'publishedPorts'> {
  const assigned = Object.values(NetworkSettings?.Networks ?? {})[0]?.IPAddress
  const address = assigned === undefined || assigned === '' ? Labels[ADDRESS_LABEL] : assigned
  return {
    ...(address === undefined ? {} : { address }),
    publishedPorts: JSON.parse(Labels[PORTS_LABEL] ?? '{}') as Record<number, number>,
  }
}

function statusOf(state: Docker.ContainerInspectInfo['State']): ContainerStatus {
  if (state.Running) return { state: 'running', startedAt: new Date(state.StartedAt) }
  const started = !state.StartedAt.startsWith('0001')
  if (state.Status === 'created' || !started) {
    // A start that failed leaves the container as it was, but with an error.
    if (state.Error === '') return { state: 'created' }
  }
  return {
    state: 'exited',
    exitCode: state.ExitCode,
    // As in CF: what ends badly after the kernel has killed any of its processes (of `npm start` the child, say) ran out of memory.
    outOfMemory: state.OOMKilled && state.ExitCode !== 0,
    finishedAt: state.FinishedAt.startsWith('0001') ? new Date() : new Date(state.FinishedAt),
    ...(state.Error === '' ? {} : { reason: state.Error }),
  }
}
