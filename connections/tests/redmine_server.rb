# Debian's Redmine on a folder, a port and a database of its own, for as long as its standard input is open.
#
# ruby redmine_server.rb FOLDER: the first line it says is JSON, {"port": …, "keys": {login: API key}, "ids": {login: id}}.
# Then a line with a moment (seconds since 1970) sets its clock, and "clean" deletes all issues; each is answered by
# a line. It needs no root and touches no other instance.

require "fileutils"
require "json"

home = File.expand_path(ARGV.fetch(0))
said = $stdout.dup
$stdout.reopen($stderr) # what the application prints is no answer

FileUtils.mkdir_p(%w[config tmp/cache log].map { |folder| "#{home}/#{folder}" })
File.write("#{home}/config/database.yml", "production: {adapter: sqlite3, database: #{home}/redmine.db, timeout: 10000}")
File.write("#{home}/config/secret_key.txt", "0" * 64)
File.write("#{home}/Gemfile", <<~RUBY)
  eval_gemfile "/usr/share/redmine/Gemfile"
  gem "sqlite3" unless dependencies.any? { |each| each.name == "sqlite3" }
  gem "puma"
RUBY
FileUtils.cp("/usr/share/redmine/Gemfile.lock", home)
ENV.update("RAILS_ENV" => "production", "BUNDLE_GEMFILE" => "#{home}/Gemfile", "TZ" => "UTC")
# An instance of Debian's package is a folder below one that only root can write to; ours lies elsewhere.
ENV["REDMINE_INSTANCE"] = "../" * 9 + home

require "/usr/share/redmine/config/environment"
require "puma"
require "puma/server"

Rails.logger.level = :fatal
ActiveJob::Base.queue_adapter = :test # mails, from threads of their own, which SQLite would lock out
$moment = nil
Time.singleton_class.prepend(Module.new { def now(**options) = $moment ? Time.at($moment, **options) : super })

database = ActiveRecord::Base.connection
database.execute("PRAGMA synchronous = OFF")
ActiveRecord::Migration.verbose = false
Dir.chdir(Rails.root) { database.migration_context.migrate }
ActiveRecord::Base.descendants.each(&:reset_column_information)
Redmine::DefaultData::Loader.load("en")

Setting.rest_api_enabled = "1"
Setting.notified_events = []
Setting.default_language = "en"
role = Role.givable.first # the manager, who may do everything in a project
bug = Tracker.first # where a new issue may begin in any status; elsewhere as "New" alone, which is the default
IssueStatus.all.each { |each| WorkflowTransition.create!(role: role, tracker: bug, old_status_id: 0, new_status: each) }
ours = Project.create!(name: "Desk", identifier: "desk", trackers: Tracker.all, enabled_module_names: %w[issue_tracking])
people = { "ana" => false, "bob" => false, "sync" => true, "gone" => false }.map do |login, admin|
  user = User.new(firstname: login.capitalize, lastname: "Test", mail: "#{login}@example.com", admin: admin)
  user.login = login
  user.save!
  Member.create!(project: ours, principal: user, roles: [role])
  user
end
people.last.lock!
%w[Remark Ticket Key].each do |name|
  IssueCustomField.create!(name: name, field_format: "string", is_for_all: true, is_filter: true, trackers: Tracker.all)
end
IssueCustomField.create!(name: "Labels", field_format: "list", multiple: true, possible_values: %w[a b c],
                         is_for_all: true, trackers: Tracker.all)

# One request after the other: SQLite has one writer, and a second one would be told so by a 500.
server = Puma::Server.new(Rails.application, Puma::Events.strings, min_threads: 1, max_threads: 1)
server.add_tcp_listener("127.0.0.1", 0)
server.run
said.puts({ port: server.connected_ports.first, keys: people.to_h { |each| [each.login, each.api_key] },
            ids: people.to_h { |each| [each.login, each.id] } }.to_json)
said.flush
while (line = $stdin.gets)
  if line.strip == "clean"
    [Issue, Journal, JournalDetail, CustomValue.where(customized_type: "Issue")].each(&:delete_all)
  else
    $moment = line.to_f
  end
  said.puts("done")
  said.flush
end
exit!(0)
