# What is installed where, and the Debian package (cpack -G DEB). Paths are Debian's: /usr, /etc, /lib/systemd.
set(CMAKE_INSTALL_PREFIX /usr CACHE PATH "" FORCE)
set(here ${CMAKE_CURRENT_LIST_DIR})

install(TARGETS hamroh RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/plugins DESTINATION share/hamroh)
install(CODE "if(NOT EXISTS \"${CMAKE_SOURCE_DIR}/web/dist/index.html\")
  message(FATAL_ERROR \"The web client has not been built: cd web && npm ci && npm run build\")
endif()")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/web/dist/ DESTINATION share/hamroh/web)
install(FILES ${CMAKE_SOURCE_DIR}/scripts/demo.lua DESTINATION share/doc/hamroh/examples)
install(FILES ${here}/README.md ${here}/copyright DESTINATION share/doc/hamroh)
install(FILES ${here}/hamroh.service ${here}/hamroh.socket DESTINATION /lib/systemd/system)
install(FILES ${here}/hamroh.lua DESTINATION /etc/hamroh)
# Written by the program itself, when it is installed: a tree built with sanitizers does not run everywhere at build time.
install(CODE "set(to \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share\")
file(MAKE_DIRECTORY \"\${to}/man/man1\" \"\${to}/doc/hamroh\")
execute_process(COMMAND \"$<TARGET_FILE:hamroh>\" help --man OUTPUT_FILE \"\${to}/man/man1/hamroh.1\" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND gzip -9nf \"\${to}/man/man1/hamroh.1\" COMMAND_ERROR_IS_FATAL ANY)
file(COPY_FILE \"${here}/changelog\" \"\${to}/doc/hamroh/changelog.Debian\")
execute_process(COMMAND gzip -9nf \"\${to}/doc/hamroh/changelog.Debian\" COMMAND_ERROR_IS_FATAL ANY)")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hamroh)
set(CPACK_PACKAGE_VENDOR Hamroh)
set(CPACK_PACKAGE_CONTACT "Hamroh <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "server for student-to-student mentoring")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "A self-hosted server that finds who needs help and who can give it, brings them together, walks with
them through the term, and shows with honest statistics whether it helped. Every rule is a Lua plugin that an
institution may change while everybody stays connected.")
set(CPACK_DEBIAN_PACKAGE_SECTION education)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Loaded by name at run time, so that no tool sees it.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates, libwebsockets-evlib-ev")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${here}/postinst;${here}/prerm;${here}/postrm;${here}/conffiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON) # for what goes to /etc and /lib
include(CPack)
