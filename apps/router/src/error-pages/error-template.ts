/** What a template may show. */
export interface ErrorFacts {
  readonly status: number
  /** The status in words. */
  readonly statusText: string
  readonly message: string
  /** Value of a field of the answer, '' where it has none. */
  header(name: string): string
}

/** A template that cannot be used; the message says where and why. */
export class TemplateFault extends Error {
  override readonly name = 'TemplateFault'
}

export type ErrorTemplate = (facts: ErrorFacts) => string
type Value = (facts: ErrorFacts) => string | number
type Test = (facts: ErrorFacts) => boolean
type Node = { readonly text: string } | { readonly value: Value } | { readonly branches: readonly Branch[] }
interface Branch {
  /** Absent: else. */
  readonly when: Test | undefined
  readonly then: Node[]
}

const ALLOWED =
  'a template may use .Status, .StatusText, .Message, .Header.Get "NAME", if with eq, ne or a value, else, end, and comments'
const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' }
const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign] ?? sign)

/**
 * Reads an HTML template in the notation of Go's html/template, as far as pages of errors need it. Values are escaped; where that would
 * not make them harmless (in scripts, styles, tags outside of quotes) they are refused.
 */
export function parseErrorTemplate(source: string): ErrorTemplate {
  const root: Node[] = []
  const open: { readonly branches: Branch[]; readonly line: number }[] = []
  let into = root
  let html = ''
  for (const part of partsOf(source)) {
    if (part.text !== '') into.push({ text: part.text })
    html += part.text
    const { action, line } = part
    if (action === undefined) continue
    const fault = (why: string): TemplateFault => new TemplateFault(`line ${line}, {{${action}}}: ${why}`)
    const [word = ''] = action.trim().split(/\s/)
    const rest = action.trim().slice(word.length).trim()
    const innermost = open.at(-1)
    const branch = (branches: Branch[], when: Test | undefined): void => {
      into = []
      branches.push({ when, then: into })
    }
    if (/^\/\*[^]*\*\/$/.test(action.trim())) continue
    if (word === 'if') {
      const branches: Branch[] = []
      into.push({ branches })
      open.push({ branches, line })
      branch(branches, testOf(rest, fault))
    } else if (word === 'else') {
      if (!innermost) throw fault('there is no if before it')
      if (innermost.branches.at(-1)?.when === undefined) throw fault('there was an else before it')
      const [, condition] = /^if\s+([^]*)$/.exec(rest) ?? []
      if (rest !== '' && condition === undefined) throw fault(ALLOWED)
      branch(innermost.branches, condition === undefined ? undefined : testOf(condition, fault))
    } else if (word === 'end' && rest === '') {
      if (!open.pop()) throw fault('there is no if before it')
      into = open.at(-1)?.branches.at(-1)?.then ?? root
    } else {
      const place = dangerOf(html)
      if (place !== undefined) throw fault(`values may not stand in ${place}`)
      into.push({ value: valueOf(action.trim(), fault) })
      html += 'value'
    }
  }
  const unclosed = open.at(-1)
  if (unclosed) throw new TemplateFault(`line ${unclosed.line}: this if has no end`)
  return (facts) => render(root, facts)
}

function render(nodes: readonly Node[], facts: ErrorFacts): string {
  let out = ''
  for (const node of nodes) {
    if ('text' in node) out += node.text
    else if ('value' in node) out += escaped(String(node.value(facts)))
    else out += render(node.branches.find(({ when }) => when?.(facts) ?? true)?.then ?? [], facts)
  }
  return out
}

interface Part {
  readonly text: string
  /** What follows the text in braces; absent at the end. */
  readonly action?: string
  readonly line: number
}

function partsOf(source: string): Part[] {
  const parts: Part[] = []
  let at = 0
  let trims = false
  for (;;) {
    const begin = source.indexOf('{{', at)
    let text = begin < 0 ? source.slice(at) : source.slice(at, begin)
    if (trims) text = text.trimStart()
    const line = source.slice(0, begin < 0 ? source.length : begin).split('\n').length
    if (begin < 0) return [...parts, { text, line }]
    const isComment = /^-?\s*\/\*/.test(source.slice(begin + 2))
    const end = isComment ? source.indexOf('}}', source.indexOf('*/', begin)) : source.indexOf('}}', begin)
    if (end < 0) throw new TemplateFault(`line ${line}: {{ without }}`)
    let action = source.slice(begin + 2, end)
    if (/^-\s/.test(action)) {
      text = text.trimEnd()
      action = action.slice(1)
    }
    trims = /\s-$/.test(action)
    if (trims) action = action.slice(0, -1)
    parts.push({ text, action, line })
    at = end + 2
  }
}

type Fault = (why: string) => Error

function valueOf(text: string, fault: Fault): Value {
  if (text === '.Status') return ({ status }) => status
  if (text === '.StatusText') return ({ statusText }) => statusText
  if (text === '.Message') return ({ message }) => message
  const [, , name] = /^\.Header\.Get\s+("|`)([^"`\\]*)\1$/.exec(text) ?? []
  if (name !== undefined) return (facts) => facts.header(name)
  throw fault(ALLOWED)
}

function testOf(text: string, fault: Fault): Test {
  const [, compare, operands] = /^(eq|ne)\s+([^]+)$/.exec(text) ?? []
  if (compare === undefined || operands === undefined) {
    const value = valueOf(text.replace(/^\(([^]*)\)$/, '$1'), fault)
    return (facts) => Boolean(value(facts))
  }
  const [first, ...others] = operandsOf(operands, fault)
  if (!first || others.length === 0 || (compare === 'ne' && others.length > 1))
    throw fault(`${compare} compares a value with another`)
  return (facts) => others.some((other) => other(facts) === first(facts)) === (compare === 'eq')
}

/** Literals, fields, and calls in parentheses. */
function operandsOf(text: string, fault: Fault): Value[] {
  const found = text.match(/\([^()]*\)|"[^"\\]*"|`[^`]*`|\S+/g) ?? []
  return found.map((operand) => {
    if (/^\d+$/.test(operand)) return () => Number(operand)
    if (/^["`]/.test(operand)) return () => operand.slice(1, -1)
    return valueOf(operand.replace(/^\(\s*([^]*?)\s*\)$/, '$1'), fault)
  })
}

/** Where in a page, after so much of it, a value could do harm though it is escaped. */
function dangerOf(html: string): string | undefined {
  const before = html.replace(/<!--[^]*?-->/g, '')
  for (const element of ['script', 'style'])
    if (before.toLowerCase().lastIndexOf(`<${element}`) > before.toLowerCase().lastIndexOf(`</${element}`)) return `a ${element}`
  if (before.lastIndexOf('<!--') >= 0) return 'a comment of HTML'
  const [, tag] = /<(\/?[A-Za-z][^<>]*)$/.exec(before) ?? []
  if (tag === undefined) return undefined
  const quoted = /^(?:[^"']|"[^"]*"|'[^']*')*?([\w:-]+)\s*=\s*(?:"[^"]*|'[^']*)$/.exec(tag)
  const name = quoted?.[1]?.toLowerCase()
  if (name === undefined) return 'a tag outside of quotes'
  return name === 'style' || name.startsWith('on') || /^(href|src|srcdoc|action|formaction|data)$/.test(name)
    ? `the attribute ${name}`
    : undefined
}
