import { dockerAnswers, dockerDaemonComplaint, mayStartDocker, startDockerDaemon } from './docker-engine.js'
import { hasProgram, installCommand, installPackages } from './install.js'
import { LaunchError } from './launch-error.js'
import type { Settings } from './settings.js'

export interface EngineChoice {
  readonly kind: 'docker' | 'process'
  /** What the user must know of it. */
  readonly notice?: string
}

/**
 * The engine that apps run on: the one asked for; else docker where one answers, can be started or may be installed; else
 * `process`, with a notice of what that means.
 */
export async function chooseEngine(settings: Settings, say: (line: string) => void): Promise<EngineChoice> {
  if (settings.BLOOMERY_ENGINE === 'process') return prepareProcessEngine(settings, say)
  if (await bringUpDocker(settings, say)) return { kind: 'docker' }
  const complaint = hasProgram('dockerd') || hasProgram('docker') ? dockerDaemonComplaint(settings) : ''
  const remedy = !hasProgram('docker')
    ? `Install one (${installCommand(['docker.io'])})`
    : process.getuid?.() === 0
      ? `Start it (systemctl start docker)${complaint ? `; its last words: ${complaint}` : ''}`
      : 'Start it (sudo systemctl start docker) and join its group (sudo usermod -aG docker $USER, then log in anew)'
  if (settings.BLOOMERY_ENGINE === 'docker')
    throw new LaunchError(
      `BLOOMERY_ENGINE=docker, but no Docker engine answers. ${remedy}, or use BLOOMERY_ENGINE=process for a first look.`,
    )
  const choice = await prepareProcessEngine(settings, say)
  return {
    ...choice,
    notice: [`No Docker engine answers here. ${remedy} for the real thing.`, choice.notice].filter(Boolean).join('\n'),
  }
}

async function bringUpDocker(settings: Settings, say: (line: string) => void): Promise<boolean> {
  if (await dockerAnswers()) return true
  if (!hasProgram('dockerd') && !hasProgram('docker')) {
    if (!(await installPackages(['docker.io', 'iptables'], 'A Docker engine runs the apps.', settings, say))) return false
    if (await dockerAnswers()) return true
  }
  if (!mayStartDocker()) return false
  say('Starting the Docker engine')
  return startDockerDaemon(settings)
}

async function prepareProcessEngine(settings: Settings, say: (line: string) => void): Promise<EngineChoice> {
  const wanted = [
    { program: 'bwrap', package: 'bubblewrap' },
    { program: 'ip', package: 'iproute2' },
    { program: 'ps', package: 'procps' },
  ].filter(({ program }) => !hasProgram(program))
  const packages = wanted.map((each) => each.package)
  const missing =
    packages.length > 0 && !(await installPackages(packages, 'The process engine confines apps with bubblewrap.', settings, say))
  const notice = [
    'Apps run as plain processes of this machine (engine: process). That is for a first look: isolation, limits and the stack',
    'are weaker than in containers, so run only code that you trust.',
    ...(missing ? [`Missing for better confinement: ${installCommand(packages)}`] : []),
  ].join('\n')
  return { kind: 'process', notice }
}
