# Where a scripted module's files go, as slicerMacroBuildScriptedModule.cmake of Slicer and ctkMacroCompilePythonScript.cmake
# of CTK do it: each file keeps the path that it is listed with, below the folder of all scripted modules, which is the same
# for every CMakeLists.txt of an extension. Copied when CMake configures, and not when it builds.
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/qt-scripted-modules")

function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "Unknown keywords given to slicerMacroBuildScriptedModule(): ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT MODULE_NAME OR NOT MODULE_SCRIPTS)
    message(FATAL_ERROR "NAME and SCRIPTS are mandatory")
  endif()
  # CTK makes targets of this name: a second module of the same name is an error.
  add_custom_target(${MODULE_NAME})
  foreach(path IN LISTS MODULE_SCRIPTS MODULE_RESOURCES)
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${path}")
    if(NOT EXISTS "${source}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule given nonexistent file '${path}'")
    endif()
    get_filename_component(folder "${path}" DIRECTORY)
    file(COPY "${source}" DESTINATION "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${folder}")
    # CTK installs the copied folder; what was copied outside of it stays behind.
    if(NOT path MATCHES "^\\.\\./")
      install(FILES "${source}" DESTINATION "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${folder}")
    endif()
  endforeach()
endfunction()
