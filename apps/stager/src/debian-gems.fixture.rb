# Packs the gems named, which Debian's packages have installed, and all that they need, into vendor/cache; writes a Gemfile with them.
require 'fileutils'
require 'rubygems/package'

LIBRARIES = [%r{\A/usr/lib/ruby/vendor_ruby/(.+)}, %r{\A/usr/lib/[^/]+/ruby/vendor_ruby/\d[^/]*/(.+)}].freeze

def closure(names)
  found = {}
  until names.empty?
    name = names.shift
    next if found[name]

    found[name] = Gem::Specification.find_by_name(name)
    names.concat(found[name].runtime_dependencies.map(&:name))
  end
  found.values.reject { |spec| spec.name == 'bundler' }
end

# Debian keeps some gems in folders of their own, and of others only what Ruby loads; what is compiled lies apart.
def lay_out(spec, folder)
  FileUtils.mkdir_p("#{folder}/lib")
  FileUtils.cp_r("#{spec.extension_dir}/.", "#{folder}/lib") if File.directory?(spec.extension_dir)
  own = spec.full_gem_path
  return FileUtils.cp_r("#{own}/.", folder) if File.directory?(own) && !Dir.children(own).empty?

  package = `dpkg -S #{spec.loaded_from}`.split(':').first
  `dpkg -L #{package}`.lines.map(&:chomp).select { |path| File.file?(path) }.each do |path|
    name = LIBRARIES.filter_map { |pattern| pattern.match(path) }.first
    next unless name

    FileUtils.mkdir_p(File.dirname("#{folder}/lib/#{name[1]}"))
    FileUtils.cp(path, "#{folder}/lib/#{name[1]}")
  end
end

# What is compiled already stays so.
def pack(spec, folder, target)
  made = spec.dup
  made.extensions = made.test_files = made.extra_rdoc_files = []
  made.require_paths = ['lib'] unless made.require_paths.all? { |path| File.directory?("#{folder}/#{path}") }
  Dir.chdir(folder) do
    made.files = Dir.glob('**/*', File::FNM_DOTMATCH).select { |path| File.file?(path) }
    made.executables = made.executables.select { |name| File.file?("#{made.bindir}/#{name}") }
    Gem::Package.build(made, true, false, target)
  end
end

cache = File.expand_path('vendor/cache')
FileUtils.mkdir_p(cache)
closure(ARGV.dup).each do |spec|
  lay_out(spec, "/tmp/gems/#{spec.full_name}")
  pack(spec, "/tmp/gems/#{spec.full_name}", "#{cache}/#{spec.full_name}.gem")
end
File.write('Gemfile', "source 'https://rubygems.org'\nruby '~> 3.1'\n#{ARGV.map { |name| "gem '#{name}'\n" }.join}")
