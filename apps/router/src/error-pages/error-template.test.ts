import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type ErrorFacts, parseErrorTemplate, TemplateFault } from './error-template.js'

const FACTS: ErrorFacts = {
  status: 404,
  statusText: 'Not Found',
  message: `Requested route ('a<b>.test') does not exist.`,
  header: (name) => (name === 'X-Cf-RouterError' ? 'unknown_route' : ''),
}
const rendered = (source: string, facts: Partial<ErrorFacts> = {}): string => parseErrorTemplate(source)({ ...FACTS, ...facts })

describe('parseErrorTemplate', () => {
  it.each<[string, string]>([
    ['<h1>plain</h1>', '<h1>plain</h1>'],
    ['{{ .Status }} {{.StatusText}}', '404 Not Found'],
    ['<p>{{ .Message }}</p>', '<p>Requested route (&#39;a&lt;b&gt;.test&#39;) does not exist.</p>'],
    ['{{ .Header.Get "X-Cf-RouterError" }}|{{ .Header.Get `Other` }}', 'unknown_route|'],
    ['<p title="{{ .Message }}">', '<p title="Requested route (&#39;a&lt;b&gt;.test&#39;) does not exist.">'],
    ["<p class='e{{ .Status }}' title='{{ .StatusText }}'>", "<p class='e404' title='Not Found'>"],
    ['{{ if eq .Status 404 }}lost{{ else }}broken{{ end }}', 'lost'],
    ['{{ if eq .Status 502 503 }}broken{{ else }}lost{{ end }}', 'lost'],
    ['{{ if ne .Status 404 }}broken{{ else if eq .StatusText "Not Found" }}lost{{ end }}', 'lost'],
    ['{{ if eq (.Header.Get "X-Cf-RouterError") "unknown_route" }}lost{{ end }}', 'lost'],
    ['{{ if .Header.Get "Other" }}with{{ else }}without{{ end }}', 'without'],
    ['{{ if .Message }}{{ if eq .Status 500 }}a{{ end }}b{{ end }}c', 'bc'],
    ['a\n  {{- /* a comment with }} in it */ -}}\n  b', 'ab'],
    ['a {{- .Status -}} b', 'a404b'],
    ['<!-- {{/* nothing */}} --><script>x()</script>{{ .Status }}', '<!--  --><script>x()</script>404'],
  ])('renders %j', (source, page) => expect(rendered(source)).toBe(page))

  it.each<[string, RegExp]>([
    ['{{', /line 1: \{\{ without \}\}/],
    ['a\n{{ range .Header }}', /line 2, \{\{ range \.Header \}\}: a template may use \.Status/],
    ['{{ .Nothing }}', /may use/],
    ['{{ template "other" }}', /may use/],
    ['{{ .Message | html }}', /may use/],
    ['\n{{ if .Status }}', /line 2: this if has no end/],
    ['{{ end }}', /no if before it/],
    ['{{ else }}', /no if before it/],
    ['{{ if .Status }}{{ else }}{{ else }}{{ end }}', /an else before it/],
    ['{{ if eq .Status }}{{ end }}', /compares a value with another/],
    ['<script>let m = "{{ .Message }}"</script>', /not stand in a script/],
    ['<STYLE>{{ .Message }}', /not stand in a style/],
    ['<!-- {{ .Message }} -->', /a comment of HTML/],
    ['<p {{ .Message }}>', /a tag outside of quotes/],
    ['<p title={{ .Message }}>', /a tag outside of quotes/],
    ['<a title="x" href="{{ .Message }}">', /the attribute href/],
    ['<p onclick="{{ .Message }}">', /the attribute onclick/],
  ])('refuses %j', (source, why) => {
    expect(() => parseErrorTemplate(source)).toThrow(TemplateFault)
    expect(() => parseErrorTemplate(source)).toThrow(why)
  })

  it('lets nothing of a value become HTML', () => {
    const page = parseErrorTemplate('<p>{{ .Message }}</p>')
    fc.assert(
      fc.property(fc.string(), (message) => {
        const inner = page({ ...FACTS, message }).slice('<p>'.length, -'</p>'.length)
        expect(inner).not.toMatch(/[<>"']/)
        expect(inner.replace(/&(amp|lt|gt|#34|#39);/g, '')).not.toContain('&')
      }),
    )
  })

  it('reads whatever text there is, or says what is wrong with it', () => {
    const piece = fc.constantFrom(
      '{{',
      '}}',
      ' if ',
      'else',
      ' end ',
      '.Status',
      'eq',
      '"',
      '<a href="',
      '<p>',
      '-',
      '/*',
      '*/',
      '\n',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          expect(typeof rendered(pieces.join(''))).toBe('string')
        } catch (error) {
          expect(error).toBeInstanceOf(TemplateFault)
        }
      }),
    )
  })
})
