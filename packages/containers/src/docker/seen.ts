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
    // Another process of the container may have been killed earlier, and the program survived it.
    outOfMemory: state.OOMKilled && state.ExitCode === 137,
    finishedAt: state.FinishedAt.startsWith('0001') ? new Date() : new Date(state.FinishedAt),
    ...(state.Error === '' ? {} : { reason: state.Error }),
  }
}
