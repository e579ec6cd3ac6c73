import type { OsbCaller } from './osb-caller.fixture.js'

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/

/** Reads the broker's figures as strictly as the text format of Prometheus (0.0.4) is written down. */
export async function scrape(platform: OsbCaller): Promise<Sample[]> {
  const { status, headers, body } = await platform.call('GET', '/metrics', { headers: { accept: 'text/plain;version=0.0.4' } })
  const type = headers.get('content-type') ?? ''
  if (status !== 200 || !/^text\/plain; version=0\.0\.4/.test(type)) throw new Error(`no figures: ${status} ${type}`)
  const text = String(body['text'])
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end')
  const declared = new Map<string, string>()
  const samples: Sample[] = []
  const seen = new Set<string>()
  let family = ''
  for (const line of text.split('\n').slice(0, -1)) {
    const [, kind, name = '', rest = ''] = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? []
    if (kind !== undefined) {
      const key = `${kind} ${name}`
      if (declared.has(key) || samples.some((sample) => sample.name === name)) throw new Error(`${line}: told too late, or again`)
      if (kind === 'TYPE' && !['gauge', 'counter'].includes(rest)) throw new Error(`${line}: no such type`)
      declared.set(key, rest)
      family = name
      continue
    }
    const sample = parseSample(line)
    if (sample.name !== family || !declared.has(`TYPE ${sample.name}`)) throw new Error(`${line}: not with its family`)
    const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    if (seen.has(identity)) throw new Error(`${line}: twice`)
    seen.add(identity)
    samples.push(sample)
  }
  return samples
}

function parseSample(line: string): Sample {
  const [, name = '', inside = '', number = ''] =
    new RegExp(`^(${NAME})\\{(.*)\\} (-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`).exec(line) ?? []
  if (name === '') throw new Error(`${line}: not a sample`)
  const labels: Record<string, string> = {}
  for (let rest = inside; rest !== '';) {
    const [all, label = '', value = ''] = LABEL.exec(rest) ?? []
    if (all === undefined || label in labels) throw new Error(`${line}: labels`)
    labels[label] = value.replaceAll(/\\(.)/g, (_, what: string) => (what === 'n' ? '\n' : what))
    rest = rest.slice(all.length)
  }
  return { name, labels, value: Number(number) }
}

/** Those of one instance, without the common beginning of their names. */
export async function figuresOf(platform: OsbCaller, guid: string): Promise<Record<string, number>> {
  const own = (await scrape(platform)).filter(({ labels }) => labels['instance'] === guid)
  return Object.fromEntries(own.map(({ name, value }) => [name.replace('bloomery_service_', ''), value]))
}
